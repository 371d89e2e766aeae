import { describe, expect, it } from 'vitest';
import { Shared } from './shared.js';

interface Meter {
  meter: string;
  decimals: number;
  gate: string | null;
}
const meter = (name: string, decimals = 0, gate: string | null = null): Meter => ({ meter: name, decimals, gate });
const shared = (): Shared<Meter> => new Shared<Meter>([{ of: (m) => m.meter }, { of: (m) => m.decimals }, { of: (m) => m.gate }]);

describe('what rows have in common', () => {
  it('is held once, by places that count from 1 as Postgres does, and told column by column in their order', () => {
    const meters = shared();
    const places = ['stored', 'egress', 'stored', 'calls', 'egress'].map((name) => meters.placeOf(meter(name, name.length)));
    expect(places).toEqual([1, 2, 1, 3, 2]);
    expect(meters.last).toBe(2);
    expect(meters.texts()).toEqual(['{stored,egress,calls}', '{6,6,5}', '{NULL,NULL,NULL}']);
  });

  it('is told apart by each of its columns, by a missing value, and by where one value ends', () => {
    const meters = shared();
    const places = [
      meter('a', 1, 'g'),
      meter('b', 1, 'g'),
      meter('a', 2, 'g'),
      meter('a', 1, 'h'),
      meter('a', 1, null),
      meter('a', 1, 'null'),
      meter('a', 1, ''),
    ].map((m) => meters.placeOf(m));
    expect(places).toEqual([1, 2, 3, 4, 5, 6, 7]);
    const pairs = new Shared<[string, string]>([{ of: (p) => p[0] }, { of: (p) => p[1] }]);
    expect([pairs.placeOf(['ab', 'c']), pairs.placeOf(['a', 'bc'])]).toEqual([1, 2]);
  });

  it('is told apart by instants, which are sent as text', () => {
    const hours = new Shared<bigint>([{ of: (at) => at, text: (at) => `at ${at}` }]);
    expect([5n, 7n, 2n + 3n].map((at) => hours.placeOf(at))).toEqual([1, 2, 1]);
    expect(hours.texts()).toEqual(['{"at 5","at 7"}']);
  });
});
