import { describe, expect, it } from 'vitest';
import { mostFor, type Taken } from './cluster-room.js';

describe('the most that one placement may have set aside where it is', () => {
  const shape = { name: 'small', minNodes: 1, maxNodes: 1, capacityBytes: '100' };
  const taken = (more: Partial<Taken> = {}): Taken => ({
    occupied: 2,
    dedicated: false,
    capacityBytes: null,
    reservedBytes: 70n,
    identityTaken: {},
    ...more,
  });

  it('is what its neighbours leave', () => {
    expect(mostFor(taken(), 30n, shape, 100)).toBe(60n);
    expect(mostFor(taken(), 30n, shape, 150)).toBe(110n);
    expect(mostFor(taken({ capacityBytes: '200' }), 30n, shape, 100)).toBe(160n);
  });

  it('is nothing where they leave nothing, and has no bound where no capacity is told', () => {
    expect(mostFor(taken({ reservedBytes: 170n }), 30n, shape, 100)).toBe(0n);
    expect(mostFor(taken(), 30n, { ...shape, capacityBytes: undefined } as never, 100)).toBeNull();
  });

  it('is the whole cluster beside nobody, and nothing beside one without a limit', () => {
    expect(mostFor(taken({ occupied: 1, reservedBytes: null }), null, shape, 100)).toBe(100n);
    expect(mostFor(taken({ reservedBytes: null }), 30n, shape, 100)).toBe(0n);
  });
});
