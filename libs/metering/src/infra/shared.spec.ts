import { describe, expect, it } from 'vitest';
import { Shared } from './shared.js';

describe('what rows have in common', () => {
  it('is held once, by places that count from 1 as Postgres does, and told column by column in their order', () => {
    const meters = new Shared<{ meter: string; decimals: number }>();
    const places = ['stored', 'egress', 'stored', 'calls', 'egress'].map((meter, i) => meters.placeOf(meter, { meter, decimals: i }));
    expect(places).toEqual([1, 2, 1, 3, 2]);
    expect(meters.last).toBe(2);
    expect(meters.column((m) => m.meter)).toBe('{stored,egress,calls}');
    expect(meters.column((m) => m.decimals)).toBe('{0,1,3}');
  });

  it('is told apart by instants too', () => {
    const hours = new Shared<bigint>();
    expect([5n, 7n, 2n + 3n].map((at) => hours.placeOf(at, at))).toEqual([1, 2, 1]);
    expect(hours.column((at) => at)).toBe('{5,7}');
  });
});
