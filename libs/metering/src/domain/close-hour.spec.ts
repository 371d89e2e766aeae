import { describe, expect, it } from 'vitest';
import type { MeterTerms } from '#entitlements';
import { closeHour } from './close-hour.js';
import { emptyOpening, type CarryIn, type HourClose, type MeterHour, type Sample } from './types.js';
import { US_PER_HOUR } from './units.js';
import { T0, GIB, min, hour, gauge, counter, segment, meterHour, sample, every5, stream, term, balanced, run } from '../testing/hours.js';

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
    const closes = run(
      2,
      (n) => meterHour(n, { kind: 'counter' }),
      [segment({ terms: counter })],
      [stream([sample(hour(0) + min(55), 2n ** 20n), sample(hour(1), 3n * 2n ** 20n)])],
    );
    expect(closes.map((c) => c.records.map((r) => r.quantity))).toEqual([['1'], ['2']]);
  });

  it('closes the old segment with the sample taken at the cut, also on the edge of an hour', () => {
    for (const at of [hour(0) + min(20), hour(1)]) {
      const segments = [segment({ terms: counter, endsAt: at }), segment({ segmentId: 's2', startsAt: at, terms: counter })];
      const closes = run(3, (n) => meterHour(n, { kind: 'counter' }), segments, [
        stream([sample(at, 5n * 2n ** 20n), sample(at + min(5), 7n * 2n ** 20n)]),
      ]);
      const records = closes.flatMap((c) => c.records.map((r) => [r.segmentId, r.quantity]));
      expect(records).toEqual([
        ['s1', '5'],
        ['s2', '2'],
      ]);
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
    expect(c.records.map((r) => [r.segmentId, r.quantity, r.startsAt, r.endsAt])).toEqual([
      ['s1', '2', hour(0), at],
      ['s2', '2', at, hour(1)],
    ]);
  });

  it('chains three segments of one hour through the following hours and then names the residue', () => {
    const cuts = [hour(0) + min(20), hour(0) + min(40)];
    const segments = [
      segment({ endsAt: cuts[0]! }),
      segment({ segmentId: 's2', startsAt: cuts[0]!, endsAt: cuts[1]! }),
      segment({ segmentId: 's3', startsAt: cuts[1]! }),
    ];
    const closes = run(3, (n) => meterHour(n), segments, [stream([0, 1, 2].flatMap((n) => every5(n, 4n * GIB)))]);
    expect(closes.map((c) => c.records.map((r) => [r.segmentId, r.quantity]))).toEqual([[['s1', '1']], [['s2', '1']], [['s3', '9']]]);
    expect(closes.flatMap((c) => c.losses.map((l) => [l.segmentId, l.cause]))).toEqual([
      ['s1', 'residue'],
      ['s2', 'residue'],
    ]);
  });

  it('names the loss of a deferral that has no later hour', () => {
    const cut = hour(0) + min(20);
    const end = hour(0) + min(40);
    const segments = [segment({ endsAt: cut }), segment({ segmentId: 's2', startsAt: cut, endsAt: end })];
    const c = closeHour(meterHour(0, { endedAt: end }), segments, emptyOpening(), [stream(every5(0, 4n * GIB))], []);
    expect(c.records.map((r) => r.segmentId)).toEqual(['s1']);
    expect(c.losses.map((l) => [l.segmentId, l.cause])).toEqual([
      ['s1', 'residue'],
      ['s2', 'missed_window'],
      ['s2', 'residue'],
    ]);
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
      closeHour(
        meterHour(0),
        [segment()],
        emptyOpening(),
        [stream(every5(0, 12n * GIB).filter((s) => s.at < hour(0) + min(missingFrom) || s.at >= hour(0) + min(missingTo)))],
        [],
      );
    expect(closed(20, 30).records[0]).toMatchObject({ quantity: '12', quality: 'measured' });
    const hole = closed(20, 45); // 15 → 45: held to 30, nothing for 15 minutes
    expect(hole.records[0]).toMatchObject({ quantity: '9', quality: 'estimated' });
    expect(term(hole, 'estimated')).toBe(12n * GIB * min(10));
    expect(hole.findings.map((f) => f.kind)).toEqual(['gap_estimated']);
    balanced(hole);
  });

  it('holds an estimated hour where the plan says so', () => {
    const c = closeHour(
      meterHour(0),
      [segment({ terms: { ...gauge, gap: 'hold' } })],
      emptyOpening(),
      [stream([sample(hour(0), 12n * GIB)])],
      [],
    );
    expect(c.records[0]!.hold).toBe('gap');
  });

  it('takes our own events at their word however long ago they are', () => {
    const opening = { ...emptyOpening(), streams: { p1: { at: hour(0), value: 5n * GIB, epoch: '', sequence: 0n } } };
    const c = closeHour(meterHour(9, { source: 'engine' }), [segment()], opening, [stream([])], []);
    expect(c.records[0]).toMatchObject({ quantity: '5', quality: 'measured' });
  });

  it('starts a counter anew at a new epoch and never bills a fall inside one', () => {
    const M = 2n ** 20n;
    const c = closeHour(
      meterHour(0, { kind: 'counter' }),
      [segment({ terms: counter })],
      emptyOpening(),
      [
        stream([
          sample(hour(0) + min(5), 10n * M),
          sample(hour(0) + min(10), 4n * M, 2n, 'e2'),
          sample(hour(0) + min(15), 1n * M, 3n, 'e2'),
          sample(hour(0) + min(20), 3n * M, 4n, 'e2'),
        ]),
      ],
      [],
    );
    expect(c.records[0]).toMatchObject({ quantity: '16', quality: 'estimated' });
  });

  it('does not bill what a placement counted for an earlier subscription', () => {
    const c = closeHour(
      meterHour(0, { kind: 'counter' }),
      [segment({ terms: counter })],
      emptyOpening(),
      [
        stream([sample(hour(0) + min(5), 10n * 2n ** 20n)], {
          baseline: { at: hour(0) - 5n, value: 8n * 2n ** 20n, epoch: 'e1', sequence: 0n },
        }),
      ],
      [],
    );
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
    const c = closeHour(
      meterHour(0),
      [segment({ terms: { ...gauge, included: { quantity: '99', period: 'term' }, includedBy: 'marketplace' } })],
      emptyOpening(),
      [stream(every5(0, GIB))],
      [],
    );
    expect(c.records[0]!.quantity).toBe('1');
  });

  it('names usage of a suspended segment as not billable, unless the plan bills it', () => {
    const closed = (terms: MeterTerms): HourClose =>
      closeHour(meterHour(0), [segment({ billable: false, terms })], emptyOpening(), [stream(every5(0, GIB))], []);
    expect(closed(gauge).entries.find((e) => e.term === 'non_billable')).toMatchObject({ cause: 'suspended', quantity: GIB * US_PER_HOUR });
    expect(closed({ ...gauge, billableWhileSuspended: true }).records).toHaveLength(1);
  });

  it('sends a zero only where one is wanted and it was measured', () => {
    const zero = (over: Partial<MeterHour>, samples: Sample[]): number =>
      closeHour(
        meterHour(0, { traits: { hourKey: 'per_segment', zeroWanted: true, maxQuantity: null, maxDecimals: 0 }, ...over }),
        [segment()],
        emptyOpening(),
        [stream(samples)],
        [],
      ).records.length;
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
    expect(
      closeHour(meterHour(0, { capacityBytes: GIB }), [segment()], emptyOpening(), [stream(every5(0, GIB))], []).records[0]!.hold,
    ).toBeNull();
  });

  it('nets a correction against later hours and never sends a negative', () => {
    const credit: CarryIn = {
      carryInId: 'c',
      segmentId: 's1',
      kind: 'credit',
      stage: 'usage',
      fromHour: hour(0),
      amount: -5n * GIB * US_PER_HOUR,
    };
    const first = closeHour(meterHour(1), [segment()], emptyOpening(), [stream(every5(1, 3n * GIB))], [credit]);
    expect(first.records).toEqual([]);
    expect(first.carryIns).toMatchObject([{ kind: 'credit', stage: 'billable', amount: -2n * GIB * US_PER_HOUR }]);
    const second = closeHour(
      meterHour(2),
      [segment()],
      first.closing,
      [stream(every5(2, 3n * GIB))],
      [{ ...first.carryIns[0]!, carryInId: 'd' }],
    );
    expect(second.records[0]!.quantity).toBe('1');
    balanced(first);
    balanced(second);
  });

  it('takes usage beyond the included quantity back before it gives included quantity back', () => {
    const terms: MeterTerms = { ...gauge, included: { quantity: '10', period: 'month' } };
    const first = closeHour(meterHour(0), [segment({ terms })], emptyOpening(), [stream(every5(0, 14n * GIB))], []);
    const amount = -6n * GIB * US_PER_HOUR;
    const credit: CarryIn = { carryInId: 'c', segmentId: 's1', kind: 'credit', stage: 'usage', fromHour: hour(0), amount };
    const second = closeHour(meterHour(1), [segment({ terms })], first.closing, [stream(every5(1, 0n))], [credit]);
    expect(first.records.map((r) => r.quantity)).toEqual(['4']);
    // 14 − 6 = 8: all 4 billed were too much, and 2 of the included 10 are there again.
    expect(second.carryIns.map((c) => c.amount)).toEqual([-4n * GIB * US_PER_HOUR]);
    expect(term(second, 'included')).toBe(-2n * GIB * US_PER_HOUR);
    balanced(second);
  });

  it('does not carry late usage into another segment or month', () => {
    const late = (over: Partial<CarryIn>): CarryIn => ({
      carryInId: 'c',
      segmentId: 's1',
      kind: 'late',
      stage: 'usage',
      fromHour: hour(0),
      amount: 9n,
      ...over,
    });
    const ended = [segment({ endsAt: hour(1) }), segment({ segmentId: 's2', startsAt: hour(1) })];
    expect(closeHour(meterHour(1), ended, emptyOpening(), [], [late({})]).losses).toMatchObject([{ cause: 'missed_window', amount: 9n }]);
    expect(closeHour(meterHour(1), [segment()], emptyOpening(), [], [late({ fromHour: hour(-24 * 20) })]).losses).toMatchObject([
      { cause: 'month_cut', amount: 9n },
    ]);
    expect(closeHour(meterHour(1), ended, emptyOpening(), [], [late({ kind: 'credit', amount: -9n })]).findings).toMatchObject([
      { kind: 'over_reported', amount: 9n },
    ]);
  });
});
