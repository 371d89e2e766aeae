import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EMISSIONS, METER_KINDS, type MeterTerms } from '#entitlements';
import { emissionAt, unsentOf } from './emission.js';
import { sumDifference, sumTerms } from './sum-terms.js';
import type { HourClose, HourSegment, MeterHour, StreamSamples } from './types.js';
import { fromUs, toUs, US_PER_HOUR } from './units.js';
import { T0, GIB, min, hour, gauge, segment, meterHour, sample, stream, run } from '../testing/hours.js';

describe('closeHour, for any stream', () => {
  const kinds = fc.constantFrom(...METER_KINDS);
  const plan = fc.record({
    kind: kinds,
    hourKey: fc.constantFrom('one_per_hour' as const, 'per_segment' as const, 'interval' as const),
    maxQuantity: fc.constantFrom(null, 3n),
    decimals: fc.integer({ min: 0, max: 6 }),
    included: fc.constantFrom(null, '1', '2.5'),
    period: fc.constantFrom('month' as const, 'term' as const, 'year' as const),
    basePerUnit: fc.constantFrom('1', '7', '1048576', (GIB * US_PER_HOUR).toString()),
    cuts: fc.uniqueArray(fc.integer({ min: 1, max: 239 }), { maxLength: 5 }),
    suspended: fc.integer({ min: -1, max: 5 }),
    endMinute: fc.option(fc.integer({ min: 130, max: 240 })),
    behind: fc.boolean(),
    switches: fc.uniqueArray(fc.record({ n: fc.integer({ min: 0, max: 4 }), emission: fc.constantFrom(...EMISSIONS) }), {
      maxLength: 3,
      selector: (s) => s.n,
    }),
    firstHour: fc.constantFrom(0, Number((BigInt(Date.UTC(2026, 2, 31, 22)) * 1_000n - T0) / US_PER_HOUR)),
    samples: fc.array(
      fc.record({
        m: fc.integer({ min: 0, max: 240 }),
        us: fc.constantFrom(0n, 1n, 17_000_001n),
        value: fc.bigInt({ min: 0n, max: 8n * GIB }),
        epoch: fc.constantFrom('a', 'b'),
      }),
      { maxLength: 40 },
    ),
    /** The minute in which a month of the term begins, and the purchase's windows turn. */
    turn: fc.option(fc.integer({ min: 0, max: 300 })),
    outage: fc.tuple(fc.integer({ min: 0, max: 240 }), fc.integer({ min: 0, max: 120 })),
  });

  const twoMonthsBefore = (at: bigint): bigint => {
    const then = fromUs(at);
    return toUs(new Date(then.setUTCMonth(then.getUTCMonth() - 2)));
  };
  const decimalsOf = (p: { decimals: number; basePerUnit: string }): number => Math.min(p.decimals, p.basePerUnit.length - 1);
  const build = (
    p: typeof plan extends fc.Arbitrary<infer T> ? T : never,
  ): { meter: (n: number) => MeterHour; segments: HourSegment[]; streams: StreamSamples[]; hours: number } => {
    const start = hour(p.firstHour);
    const ended = p.endMinute === null ? null : start + min(p.endMinute);
    const decimals = decimalsOf(p);
    const terms: MeterTerms = {
      ...gauge,
      kind: p.kind,
      decimals,
      basePerUnit: p.basePerUnit,
      included: p.included === null ? null : { quantity: p.included, period: p.period },
    };
    const cuts = [0, ...p.cuts.sort((a, b) => a - b)].filter((c) => ended === null || start + min(c) < ended);
    const segments = cuts.map((c, i) =>
      segment({
        segmentId: `s${i}`,
        startsAt: start + min(c),
        endsAt: i + 1 < cuts.length ? start + min(cuts[i + 1]!) : ended,
        billable: i !== p.suspended,
        terms,
        termStartsAt: p.turn === null ? start : twoMonthsBefore(start) + min(p.turn),
        emissions: [...p.switches].sort((a, b) => a.n - b.n).map((s) => ({ from: hour(p.firstHour + s.n), emission: s.emission })),
      }),
    );
    const samples = p.samples
      .filter((s) => s.m < p.outage[0] || s.m > p.outage[0] + p.outage[1])
      .map((s, i) => sample(start + min(s.m) + s.us, s.value, BigInt(i), s.epoch));
    return {
      hours: 5,
      segments,
      streams: [stream(samples, { from: start })],
      meter: (n) =>
        meterHour(p.firstHour + n, {
          kind: p.kind,
          endedAt: ended,
          watermark: p.behind && n === 1 ? hour(p.firstHour + n) : null,
          traits: { hourKey: p.hourKey, zeroWanted: false, maxQuantity: p.maxQuantity, maxDecimals: 6 },
        }),
    };
  };

  it('the sum law holds hour by hour, remainders stay below one quantum, and nothing negative is sent', () => {
    fc.assert(
      fc.property(plan, (p) => {
        const b = build(p);
        const closes = run(b.hours, b.meter, b.segments, b.streams);
        for (const c of closes) {
          for (const r of c.records) expect(r.baseQuantity).toBeGreaterThan(0n);
          if (p.hourKey === 'one_per_hour') expect(c.records.length).toBeLessThanOrEqual(1);
          expect(new Set(c.records.map((r) => r.segmentId)).size).toBe(c.records.length);
          const [before, at] = [-1, 0].map((n) => emissionAt(b.segments[0]!, hour(p.firstHour + closes.indexOf(c) + n)));
          for (const r of c.records) expect([r.unsent ?? null, at === 'none']).toEqual([unsentOf(at), false]);
          if (unsentOf(at) && before !== 'live') expect(c.losses.filter((l) => l.cause === 'residue')).toEqual([]);
          for (const s of Object.values(c.closing.segments)) {
            expect(s.cumulative * 10n ** BigInt(decimalsOf(p)) - s.emitted * BigInt(p.basePerUnit)).toBeGreaterThanOrEqual(0n);
          }
        }
        const all = sumTerms(closes.flatMap((c) => c.entries));
        expect(sumDifference(all)).toBe(0n);
        expect(all.remainder).toBeGreaterThanOrEqual(0n);
        // Where the subscription has ended nothing is left open.
        const ended = b.meter(0).endedAt;
        if (ended !== null) expect([all.remainder, all.deferred, Object.keys(closes.at(-1)!.closing.segments)]).toEqual([0n, 0n, []]);
      }),
      { numRuns: 400 },
    );
  });

  it('any order and any partition of the same samples gives the same hours', () => {
    fc.assert(
      fc.property(plan, fc.integer(), (p, seed) => {
        const b = build(p);
        const shuffled = b.streams.map((s) => ({
          ...s,
          samples: [...s.samples].sort(
            (x, y) => Number((x.sequence * 7919n + BigInt(seed)) % 101n) - Number((y.sequence * 7919n + BigInt(seed)) % 101n),
          ),
        }));
        expect(run(b.hours, b.meter, b.segments, shuffled)).toEqual(run(b.hours, b.meter, b.segments, b.streams));
      }),
      { numRuns: 200 },
    );
  });

  it('what was measured does not depend on where the cuts are', () => {
    fc.assert(
      fc.property(plan, (p) => {
        // Time that is billed and time that is not have a level each: those two kinds are one amount over time of one sort.
        const suspended = p.kind === 'max' || p.kind === 'latest' ? -1 : p.suspended;
        const b = build({ ...p, suspended, endMinute: null });
        const whole = build({ ...p, suspended, endMinute: null, cuts: [] });
        const sum = (c: HourClose[]): bigint =>
          sumTerms(c.flatMap((x) => x.entries)).measured + sumTerms(c.flatMap((x) => x.entries)).estimated;
        expect(sum(run(5, b.meter, b.segments, b.streams))).toBe(sum(run(5, whole.meter, whole.segments, whole.streams)));
      }),
      { numRuns: 200 },
    );
  });

  /** What was drawn on each window. */
  const drawn = (closes: HourClose[]): Record<string, bigint> => {
    const sums: Record<string, bigint> = {};
    for (const e of closes.flatMap((c) => c.entries)) if (e.term === 'included') sums[e.cause] = (sums[e.cause] ?? 0n) + e.quantity;
    return Object.fromEntries(Object.entries(sums).filter(([, q]) => q !== 0n));
  };

  it('usage on each side of a turn draws on its own window, to the unit as if the turn were a cut', () => {
    let turned = 0;
    fc.assert(
      fc.property(plan, fc.integer({ min: 1, max: 239 }), (p, turn) => {
        const one = { ...p, cuts: [], suspended: -1, turn, period: 'month' as const, included: p.included ?? '1' };
        const b = build(one);
        const closes = run(b.hours, b.meter, b.segments, b.streams);
        const [whole] = b.segments;
        const at = hour(p.firstHour) + min(turn);
        if (whole!.endsAt !== null && at >= whole!.endsAt) return;
        const cut = [
          { ...whole!, segmentId: 'before', endsAt: at },
          { ...whole!, segmentId: 'after', startsAt: at },
        ];
        expect(drawn(closes)).toEqual(drawn(run(b.hours, b.meter, cut, b.streams)));
        if (Object.keys(drawn(closes)).length > 1) turned += 1;
      }),
      { numRuns: 300 },
    );
    expect(turned).toBeGreaterThan(20);
  });

  it('hours in which no window turns close by the first rules as they do now; whatever turns, each hour balances by both', () => {
    fc.assert(
      fc.property(plan, (p) => {
        const b = build(p);
        const before = (n: number): MeterHour => ({ ...b.meter(n), rules: 1 });
        const first = run(b.hours, before, b.segments, b.streams);
        const still = p.turn === null || p.turn % 60 === 0 || p.period !== 'month' || p.included === null;
        if (still) expect(first).toEqual(run(b.hours, b.meter, b.segments, b.streams));
      }),
      { numRuns: 300 },
    );
  });
});
