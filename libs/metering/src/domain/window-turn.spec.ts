import { describe, expect, it } from 'vitest';
import type { MeterTerms } from '#entitlements';
import { closeHour } from './close-hour.js';
import { emptyOpening } from './types.js';
import { toUs, US_PER_HOUR } from './units.js';
import { GIB, min, hour, gauge, counter, segment, meterHour, sample, every5, stream, run } from '../testing/hours.js';

describe('included quantity', () => {
  it('draws on the window of its own time where a month of the term begins inside an hour; an hour closed by the first rules did not', () => {
    const terms: MeterTerms = { ...gauge, included: { quantity: '10', period: 'month' } };
    // The month begins in the second hour, at its half.
    const anchored = [segment({ terms, termStartsAt: toUs(new Date('2026-01-10T01:30:00Z')) })];
    const samples = [stream([0, 1, 2].flatMap((n) => every5(n, 8n * GIB)))];
    const billed = (rules: number): (string | undefined)[] =>
      run(3, (n) => meterHour(n, { rules }), anchored, samples).map((c) => c.records[0]?.quantity);
    // 8 included; 2 included and 2 billed, then 4 of the new month's 10; its last 6, and 2 billed.
    expect(billed(2)).toEqual([undefined, '2', '2']);
    // The whole second hour on the old month: 2 included and 6 billed; 8 of the new one's 10.
    expect(billed(1)).toEqual([undefined, '6', undefined]);
    const [, turned] = run(3, (n) => meterHour(n), anchored, samples);
    expect(
      turned!.entries.filter((e) => e.term === 'included').map((e) => [e.cause.slice(0, 10), e.quantity / (GIB * US_PER_HOUR)]),
    ).toEqual([
      ['2026-02-10', 2n],
      ['2026-03-10', 4n],
    ]);
  });

  it('splits a counter by time where the window turns between two samples, the floor before it', () => {
    const terms: MeterTerms = { ...counter, basePerUnit: '1', included: { quantity: '3', period: 'month' } };
    const c = closeHour(
      meterHour(0, { kind: 'counter' }),
      [segment({ terms, startsAt: hour(-1), termStartsAt: toUs(new Date('2026-02-10T00:04:00Z')) })],
      emptyOpening(),
      [stream([sample(hour(0), 0n), sample(hour(0) + min(5), 7n)], { from: hour(-1) })],
      [],
    );
    // Four of five minutes lie before it: 5 of 7, of which 3 are included; then 2, all of which are.
    expect(c.entries.filter((e) => e.term === 'included').map((e) => e.quantity)).toEqual([3n, 2n]);
    expect(c.records[0]!.quantity).toBe('2');
  });
});
