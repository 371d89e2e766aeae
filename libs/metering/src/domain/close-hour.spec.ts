import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MeterTerms } from '#entitlements';
import { closeHour } from './close-hour.js';
import { sumDifference, sumTerms } from './sum-terms.js';
import { emptyOpening, type CarryIn, type HourClose, type HourSegment, type MeterHour, type Opening, type Sample, type StreamSamples } from './types.js';
import { US_PER_HOUR, US_PER_MINUTE } from './units.js';

const T0 = BigInt(Date.UTC(2026, 2, 10, 0)) * 1_000n;
const GIB = 2n ** 30n;
const min = (n: number | bigint): bigint => BigInt(n) * US_PER_MINUTE;
const hour = (n: number | bigint): bigint => T0 + BigInt(n) * US_PER_HOUR;

const gauge: MeterTerms = {
  meter: 'gib_hours_stored', metric: 'stored_bytes', kind: 'gauge_integral', source: 'cell', dimension: 'gib_hours', listedUnit: 'GiB-hour',
  basePerUnit: (GIB * US_PER_HOUR).toString(), decimals: 0, included: null, includedBy: 'seller', gap: 'carry', billableWhileSuspended: false, emission: 'live',
};
const counter: MeterTerms = { ...gauge, meter: 'mib_egress', metric: 'egress_bytes', kind: 'counter', dimension: 'mib', listedUnit: 'MiB', basePerUnit: (2n ** 20n).toString() };

const segment = (over: Partial<HourSegment> = {}): HourSegment => ({
  segmentId: 's1', startsAt: hour(0), endsAt: null, planVersionId: 'p1', externalPlanId: 'gold', billable: true, termStartsAt: hour(0), termEndsAt: null, terms: gauge, ...over,
});
const meterHour = (n: number | bigint, over: Partial<MeterHour> = {}): MeterHour => ({
  meter: 'm', kind: 'gauge_integral', source: 'cell', hourStart: hour(n), endedAt: null, watermark: null,
  traits: { hourKey: 'one_per_hour', zeroWanted: false, maxQuantity: null, maxDecimals: 6 }, capacityBytes: null, lineRateBytesPerSecond: 12_500_000_000n, ...over,
});
const sample = (at: bigint, value: bigint, sequence = at, epoch = 'e1'): Sample => ({ at, value, epoch, sequence });
const every5 = (n: number, value: bigint): Sample[] => Array.from({ length: 12 }, (_, i) => sample(hour(n) + min(5 * i), value));
const stream = (samples: Sample[], over: Partial<StreamSamples> = {}): StreamSamples => ({ stream: 'p1', from: hour(0), until: null, baseline: null, samples, ...over });
const term = (c: HourClose, t: string): bigint => c.entries.filter((e) => e.term === t).reduce((s, e) => s + e.quantity, 0n);
const balanced = (c: HourClose): void => expect(sumDifference(sumTerms(c.entries))).toBe(0n);

/** Closes hours one after another, handing on openings and carry-ins as the application does. */
function run(hours: number, meter: (n: number) => MeterHour, segments: HourSegment[], streams: StreamSamples[], opening: Opening = emptyOpening()): HourClose[] {
  let open: CarryIn[] = [];
  const closes: HourClose[] = [];
  for (let n = 0; n < hours; n++) {
    const m = meter(n);
    const end = m.hourStart + US_PER_HOUR;
    const wanted = segments.filter((s) => (s.startsAt < end && (s.endsAt ?? end) > m.hourStart) || open.some((c) => c.segmentId === s.segmentId) || s.segmentId in opening.segments);
    const part = streams.map((s) => ({ ...s, samples: s.samples.filter((x) => x.at >= m.hourStart && x.at <= end) }));
    const c = closeHour(m, wanted, opening, part, open);
    balanced(c);
    open = open.filter((x) => !c.consumed.includes(x.carryInId)).concat(c.carryIns.map((x, i) => ({ ...x, carryInId: `c${n}-${i}` })));
    opening = c.closing;
    closes.push(c);
    if (m.endedAt !== null && m.endedAt <= end) break;
  }
  expect(open.length === 0 || closes.length === hours).toBe(true);
  return closes;
}

describe('closeHour', () => {
  it('integrates a gauge left-step over the whole hour', () => {
    const c = closeHour(meterHour(0), [segment()], emptyOpening(), [stream(every5(0, 3n * GIB))], []);
    expect(c.records.map((r) => [r.quantity, r.quality])).toEqual([['3', 'measured']]);
    expect(c.records[0]!.baseQuantity).toBe(3n * GIB * US_PER_HOUR);
    balanced(c);
  });

  it('emits 0, 0, 1 of three times 0.4 and keeps 0.2', () => {
    const streams = [stream([0, 1, 2].flatMap((n) => every5(n, (GIB * 4n) / 10n + 1n)))];
    const closes = run(3, (n) => meterHour(n), [segment()], streams);
    expect(closes.map((c) => c.records.map((r) => r.quantity))).toEqual([[], [], ['1']]);
    const kept = closes.reduce((s, c) => s + term(c, 'remainder'), 0n);
    expect((kept * 10n) / (GIB * US_PER_HOUR)).toBe(2n);
  });

  it('gives the sample of exactly the hour to the next hour', () => {
    const closes = run(2, (n) => meterHour(n, { kind: 'counter' }), [segment({ terms: counter })], [stream([sample(hour(0) + min(55), 2n ** 20n), sample(hour(1), 3n * 2n ** 20n)])]);
    expect(closes.map((c) => c.records.map((r) => r.quantity))).toEqual([['1'], ['2']]);
  });

  it('closes the old segment with the sample taken at the cut, also on the edge of an hour', () => {
    for (const at of [hour(0) + min(20), hour(1)]) {
      const segments = [segment({ terms: counter, endsAt: at }), segment({ segmentId: 's2', startsAt: at, terms: counter })];
      const closes = run(3, (n) => meterHour(n, { kind: 'counter' }), segments, [stream([sample(at, 5n * 2n ** 20n), sample(at + min(5), 7n * 2n ** 20n)])]);
      const records = closes.flatMap((c) => c.records.map((r) => [r.segmentId, r.quantity]));
      expect(records).toEqual([['s1', '5'], ['s2', '2']]);
    }
  });

  it('defers the second segment of an hour where the marketplace has one key per hour', () => {
    const at = hour(0) + min(30);
    const segments = [segment({ endsAt: at }), segment({ segmentId: 's2', startsAt: at, externalPlanId: 'platinum' })];
    const closes = run(2, (n) => meterHour(n), segments, [stream([0, 1].flatMap((n) => every5(n, 4n * GIB)))]);
    expect(closes.map((c) => c.records.map((r) => [r.externalPlanId, r.quantity]))).toEqual([[['gold', '2']], [['platinum', '6']]]);
    expect(term(closes[0]!, 'deferred')).toBe(2n * GIB * US_PER_HOUR);
    expect(term(closes[1]!, 'deferred')).toBe(-2n * GIB * US_PER_HOUR);
  });

  it('lets every segment go where each has a key of its own', () => {
    const at = hour(0) + min(30);
    const segments = [segment({ endsAt: at }), segment({ segmentId: 's2', startsAt: at })];
    const traits = { hourKey: 'per_segment' as const, zeroWanted: false, maxQuantity: null, maxDecimals: 0 };
    const c = closeHour(meterHour(0, { traits }), segments, emptyOpening(), [stream(every5(0, 4n * GIB))], []);
    expect(c.records.map((r) => [r.segmentId, r.quantity, r.startsAt, r.endsAt])).toEqual([['s1', '2', hour(0), at], ['s2', '2', at, hour(1)]]);
  });

  it('chains three segments of one hour through the following hours and then names the residue', () => {
    const cuts = [hour(0) + min(20), hour(0) + min(40)];
    const segments = [segment({ endsAt: cuts[0]! }), segment({ segmentId: 's2', startsAt: cuts[0]!, endsAt: cuts[1]! }), segment({ segmentId: 's3', startsAt: cuts[1]! })];
    const closes = run(3, (n) => meterHour(n), segments, [stream([0, 1, 2].flatMap((n) => every5(n, 4n * GIB)))]);
    expect(closes.map((c) => c.records.map((r) => [r.segmentId, r.quantity]))).toEqual([[['s1', '1']], [['s2', '1']], [['s3', '9']]]);
    expect(closes.flatMap((c) => c.losses.map((l) => [l.segmentId, l.cause]))).toEqual([['s1', 'residue'], ['s2', 'residue']]);
  });

  it('names the loss of a deferral that has no later hour', () => {
    const cut = hour(0) + min(20);
    const end = hour(0) + min(40);
    const segments = [segment({ endsAt: cut }), segment({ segmentId: 's2', startsAt: cut, endsAt: end })];
    const c = closeHour(meterHour(0, { endedAt: end }), segments, emptyOpening(), [stream(every5(0, 4n * GIB))], []);
    expect(c.records.map((r) => r.segmentId)).toEqual(['s1']);
    expect(c.losses.map((l) => [l.segmentId, l.cause])).toEqual([['s1', 'residue'], ['s2', 'missed_window'], ['s2', 'residue']]);
    balanced(c);
  });

  it('never defers across the month end', () => {
    const last = (BigInt(Date.UTC(2026, 2, 31, 23)) * 1_000n - T0) / US_PER_HOUR;
    const at = hour(last) + min(30);
    const segments = [segment({ endsAt: at }), segment({ segmentId: 's2', startsAt: at })];
    const c = closeHour(meterHour(last), segments, emptyOpening(), [stream(every5(Number(last), 4n * GIB))], []);
    expect(c.losses.map((l) => [l.segmentId, l.cause])).toEqual([['s2', 'month_cut']]);
    expect(c.carryIns).toEqual([]);
  });

  it('carries a value over two missed samples, then marks the hour and bills nothing', () => {
    const closed = (missingFrom: number, missingTo: number): HourClose =>
      closeHour(meterHour(0), [segment()], emptyOpening(), [stream(every5(0, 12n * GIB).filter((s) => s.at < hour(0) + min(missingFrom) || s.at >= hour(0) + min(missingTo)))], []);
    expect(closed(20, 30).records[0]).toMatchObject({ quantity: '12', quality: 'measured' });
    const hole = closed(20, 45); // 15 → 45: held to 30, nothing for 15 minutes
    expect(hole.records[0]).toMatchObject({ quantity: '9', quality: 'estimated' });
    expect(term(hole, 'estimated')).toBe(12n * GIB * min(10));
    expect(hole.findings.map((f) => f.kind)).toEqual(['gap_estimated']);
    balanced(hole);
  });

  it('holds an estimated hour where the plan says so', () => {
    const c = closeHour(meterHour(0), [segment({ terms: { ...gauge, gap: 'hold' } })], emptyOpening(), [stream([sample(hour(0), 12n * GIB)])], []);
    expect(c.records[0]!.hold).toBe('gap');
  });

  it('takes our own events at their word however long ago they are', () => {
    const opening = { ...emptyOpening(), streams: { p1: { at: hour(0), value: 5n * GIB, epoch: '', sequence: 0n } } };
    const c = closeHour(meterHour(9, { source: 'engine' }), [segment()], opening, [stream([])], []);
    expect(c.records[0]).toMatchObject({ quantity: '5', quality: 'measured' });
  });

  it('starts a counter anew at a new epoch and never bills a fall inside one', () => {
    const M = 2n ** 20n;
    const c = closeHour(meterHour(0, { kind: 'counter' }), [segment({ terms: counter })], emptyOpening(),
      [stream([sample(hour(0) + min(5), 10n * M), sample(hour(0) + min(10), 4n * M, 2n, 'e2'), sample(hour(0) + min(15), 1n * M, 3n, 'e2'), sample(hour(0) + min(20), 3n * M, 4n, 'e2')])], []);
    expect(c.records[0]).toMatchObject({ quantity: '16', quality: 'estimated' });
  });

  it('does not bill what a placement counted for an earlier subscription', () => {
    const c = closeHour(meterHour(0, { kind: 'counter' }), [segment({ terms: counter })], emptyOpening(),
      [stream([sample(hour(0) + min(5), 10n * 2n ** 20n)], { baseline: { at: hour(0) - 5n, value: 8n * 2n ** 20n, epoch: 'e1', sequence: 0n } })], []);
    expect(c.records[0]!.quantity).toBe('2');
  });

  it('uses up the included quantity first, keeps it over a plan change and gives a moved term its own', () => {
    const terms = (q: string): MeterTerms => ({ ...gauge, included: { quantity: q, period: 'month' } });
    const segments = [
      segment({ terms: terms('10'), endsAt: hour(2) }),
      segment({ segmentId: 's2', startsAt: hour(2), endsAt: hour(4), terms: terms('13') }),
      segment({ segmentId: 's3', startsAt: hour(4), termStartsAt: hour(4), terms: terms('13') }),
    ];
    const closes = run(5, (n) => meterHour(n), segments, [stream([0, 1, 2, 3, 4].flatMap((n) => every5(n, 8n * GIB)))]);
    // 8 included; 2 included and 6 billed; 3 more of the larger plan; all billed; a new term's own 13.
    expect(closes.map((c) => c.records.map((r) => r.quantity))).toEqual([[], ['6'], ['5'], ['8'], []]);
  });

  it('reports everything where the marketplace subtracts the included quantity', () => {
    const c = closeHour(meterHour(0), [segment({ terms: { ...gauge, included: { quantity: '99', period: 'term' }, includedBy: 'marketplace' } })], emptyOpening(), [stream(every5(0, GIB))], []);
    expect(c.records[0]!.quantity).toBe('1');
  });

  it('names usage of a suspended segment as not billable, unless the plan bills it', () => {
    const closed = (terms: MeterTerms): HourClose => closeHour(meterHour(0), [segment({ billable: false, terms })], emptyOpening(), [stream(every5(0, GIB))], []);
    expect(closed(gauge).entries.find((e) => e.term === 'non_billable')).toMatchObject({ cause: 'suspended', quantity: GIB * US_PER_HOUR });
    expect(closed({ ...gauge, billableWhileSuspended: true }).records).toHaveLength(1);
  });

  it('sends a zero only where one is wanted and it was measured', () => {
    const zero = (over: Partial<MeterHour>, samples: Sample[]): number =>
      closeHour(meterHour(0, { traits: { hourKey: 'per_segment', zeroWanted: true, maxQuantity: null, maxDecimals: 0 }, ...over }), [segment()], emptyOpening(), [stream(samples)], []).records.length;
    expect(zero({}, every5(0, 0n))).toBe(1);
    expect(zero({}, [])).toBe(0);
    expect(zero({ traits: { hourKey: 'one_per_hour', zeroWanted: false, maxQuantity: null, maxDecimals: 0 } }, every5(0, 0n))).toBe(0);
  });

  it('defers what is over the largest quantity and says so', () => {
    const traits = { hourKey: 'per_segment' as const, zeroWanted: false, maxQuantity: 5n, maxDecimals: 0 };
    const closes = run(2, (n) => meterHour(n, { traits }), [segment()], [stream([...every5(0, 7n * GIB), ...every5(1, GIB)])]);
    expect(closes.map((c) => c.records[0]!.quantity)).toEqual(['5', '3']);
    expect(closes[0]!.findings.map((f) => f.kind)).toEqual(['int32_overflow']);
  });

  it('holds what is physically impossible', () => {
    const c = closeHour(meterHour(0, { capacityBytes: GIB }), [segment()], emptyOpening(), [stream(every5(0, 2n * GIB))], []);
    expect(c.records[0]!.hold).toBe('implausible');
    expect(closeHour(meterHour(0, { capacityBytes: GIB }), [segment()], emptyOpening(), [stream(every5(0, GIB))], []).records[0]!.hold).toBeNull();
  });

  it('nets a correction against later hours and never sends a negative', () => {
    const credit: CarryIn = { carryInId: 'c', segmentId: 's1', kind: 'credit', stage: 'usage', fromHour: hour(0), amount: -5n * GIB * US_PER_HOUR };
    const first = closeHour(meterHour(1), [segment()], emptyOpening(), [stream(every5(1, 3n * GIB))], [credit]);
    expect(first.records).toEqual([]);
    expect(first.carryIns).toMatchObject([{ kind: 'credit', stage: 'billable', amount: -2n * GIB * US_PER_HOUR }]);
    const second = closeHour(meterHour(2), [segment()], first.closing, [stream(every5(2, 3n * GIB))], [{ ...first.carryIns[0]!, carryInId: 'd' }]);
    expect(second.records[0]!.quantity).toBe('1');
    balanced(first);
    balanced(second);
  });

  it('does not carry late usage into another segment or month', () => {
    const late = (over: Partial<CarryIn>): CarryIn => ({ carryInId: 'c', segmentId: 's1', kind: 'late', stage: 'usage', fromHour: hour(0), amount: 9n, ...over });
    const ended = [segment({ endsAt: hour(1) }), segment({ segmentId: 's2', startsAt: hour(1) })];
    expect(closeHour(meterHour(1), ended, emptyOpening(), [], [late({})]).losses).toMatchObject([{ cause: 'missed_window', amount: 9n }]);
    expect(closeHour(meterHour(1), [segment()], emptyOpening(), [], [late({ fromHour: hour(-24 * 20) })]).losses).toMatchObject([{ cause: 'month_cut', amount: 9n }]);
    expect(closeHour(meterHour(1), ended, emptyOpening(), [], [late({ kind: 'credit', amount: -9n })]).findings).toMatchObject([{ kind: 'over_reported', amount: 9n }]);
  });
});

describe('closeHour, for any stream', () => {
  const kinds = fc.constantFrom('gauge_integral' as const, 'counter' as const);
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
    firstHour: fc.constantFrom(0, Number((BigInt(Date.UTC(2026, 2, 31, 22)) * 1_000n - T0) / US_PER_HOUR)),
    samples: fc.array(fc.record({ m: fc.integer({ min: 0, max: 240 }), us: fc.constantFrom(0n, 1n, 17_000_001n), value: fc.bigInt({ min: 0n, max: 8n * GIB }), epoch: fc.constantFrom('a', 'b') }), { maxLength: 40 }),
    outage: fc.tuple(fc.integer({ min: 0, max: 240 }), fc.integer({ min: 0, max: 120 })),
  });

  const decimalsOf = (p: { decimals: number; basePerUnit: string }): number => Math.min(p.decimals, p.basePerUnit.length - 1);
  const build = (p: typeof plan extends fc.Arbitrary<infer T> ? T : never): { meter: (n: number) => MeterHour; segments: HourSegment[]; streams: StreamSamples[]; hours: number } => {
    const start = hour(p.firstHour);
    const ended = p.endMinute === null ? null : start + min(p.endMinute);
    const decimals = decimalsOf(p);
    const terms: MeterTerms = { ...gauge, kind: p.kind, decimals, basePerUnit: p.basePerUnit, included: p.included === null ? null : { quantity: p.included, period: p.period } };
    const cuts = [0, ...p.cuts.sort((a, b) => a - b)].filter((c) => ended === null || start + min(c) < ended);
    const segments = cuts.map((c, i) => segment({
      segmentId: `s${i}`, startsAt: start + min(c), endsAt: i + 1 < cuts.length ? start + min(cuts[i + 1]!) : ended, billable: i !== p.suspended, terms,
    }));
    const samples = p.samples.filter((s) => s.m < p.outage[0] || s.m > p.outage[0] + p.outage[1]).map((s, i) => sample(start + min(s.m) + s.us, s.value, BigInt(i), s.epoch));
    return {
      hours: 5, segments, streams: [stream(samples, { from: start })],
      meter: (n) => meterHour(p.firstHour + n, {
        kind: p.kind, endedAt: ended, watermark: p.behind && n === 1 ? hour(p.firstHour + n) : null,
        traits: { hourKey: p.hourKey, zeroWanted: false, maxQuantity: p.maxQuantity, maxDecimals: 6 },
      }),
    };
  };

  it('the sum law holds hour by hour, remainders stay below one quantum, and nothing negative is sent', () => {
    fc.assert(fc.property(plan, (p) => {
      const b = build(p);
      const closes = run(b.hours, b.meter, b.segments, b.streams);
      for (const c of closes) {
        for (const r of c.records) expect(r.baseQuantity).toBeGreaterThan(0n);
        if (p.hourKey === 'one_per_hour') expect(c.records.length).toBeLessThanOrEqual(1);
        expect(new Set(c.records.map((r) => r.segmentId)).size).toBe(c.records.length);
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
    }), { numRuns: 400 });
  });

  it('any order and any partition of the same samples gives the same hours', () => {
    fc.assert(fc.property(plan, fc.integer(), (p, seed) => {
      const b = build(p);
      const shuffled = b.streams.map((s) => ({ ...s, samples: [...s.samples].sort((x, y) => Number((x.sequence * 7919n + BigInt(seed)) % 101n) - Number((y.sequence * 7919n + BigInt(seed)) % 101n)) }));
      expect(run(b.hours, b.meter, b.segments, shuffled)).toEqual(run(b.hours, b.meter, b.segments, b.streams));
    }), { numRuns: 200 });
  });

  it('what was measured does not depend on where the cuts are', () => {
    fc.assert(fc.property(plan, (p) => {
      const b = build({ ...p, endMinute: null });
      const whole = build({ ...p, endMinute: null, cuts: [] });
      const sum = (c: HourClose[]): bigint => sumTerms(c.flatMap((x) => x.entries)).measured + sumTerms(c.flatMap((x) => x.entries)).estimated;
      expect(sum(run(5, b.meter, b.segments, b.streams))).toBe(sum(run(5, whole.meter, whole.segments, whole.streams)));
    }), { numRuns: 200 });
  });
});
