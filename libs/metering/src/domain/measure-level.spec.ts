import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MeterTerms } from '#entitlements';
import { measureHour } from './measure-hour.js';
import type { MeasureLine } from './measure-parts.js';
import type { HourSegment, StreamSamples } from './types.js';
import { balanced, every5, gauge, hour, meterHour, min, run, sample, segment, stream, term } from '../testing/hours.js';

const level = (kind: 'max' | 'latest'): MeterTerms => ({ ...gauge, kind, basePerUnit: '1', dimension: 'nodes', listedUnit: 'node' });
const one = (kind: 'max' | 'latest', over: Partial<HourSegment> = {}): HourSegment => segment({ terms: level(kind), ...over });
/** An hour of these streams, and what each segment has of it. */
function measured(
  kind: 'max' | 'latest',
  streams: StreamSamples[],
  segments = [one(kind)],
  n = 1,
): { amounts: Record<string, bigint>; quality: string; lines: MeasureLine[] } {
  const lines: MeasureLine[] = [];
  const m = measureHour(meterHour(n, { kind }), segments, {}, streams, (l) => void lines.push(l));
  return {
    amounts: Object.fromEntries([...m.bySegment].map(([id, x]) => [id, x.measured + x.estimated])),
    quality: m.quality,
    lines,
  };
}
/** Values every five minutes from `from` on, as many as there are. */
const values = (from: bigint, ...all: number[]) => all.map((v, i) => sample(from + min(5 * i), BigInt(v)));
const flat = (n: number, value: number) => stream([sample(hour(n) - min(5), BigInt(value)), ...every5(n, BigInt(value))]);

describe('a meter of the largest total of an hour', () => {
  it('is the largest value, however short it held', () => {
    const s = stream([...values(hour(1), 3, 3, 9, 2, 2, 2, 2, 2, 2, 2, 2, 2)]);
    expect(measured('max', [s]).amounts).toEqual({ s1: 9n });
  });

  it('adds streams up at one moment: two peaks at different times are not one', () => {
    const a = stream(values(hour(1), 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), { stream: 'a' });
    const b = stream(values(hour(1), 1, 1, 1, 1, 1, 1, 9, 1, 1, 1, 1, 1), { stream: 'b' });
    expect(measured('max', [a, b]).amounts).toEqual({ s1: 10n });
  });

  it('knows the value that an hour begins with: without a sample at its start the last one goes on', () => {
    const closes = run(
      2,
      (n) => meterHour(n, { kind: 'max' }),
      [one('max')],
      [stream([...every5(0, 2n).slice(0, 11), sample(hour(0) + min(58), 8n), ...every5(1, 1n).slice(1)])],
    );
    expect(closes.map((c) => c.records[0]!.quantity)).toEqual(['8', '8']);
  });

  it('bills one peak where a plan changes in the hour: the new segment has only what it raised it by', () => {
    const cut = hour(1) + min(30);
    const segments = [one('max', { endsAt: cut }), one('max', { segmentId: 's2', startsAt: cut })];
    expect(measured('max', [flat(1, 7)], segments).amounts).toEqual({ s1: 7n, s2: 0n });
    const rises = stream(values(hour(1), 7, 7, 7, 7, 7, 7, 11, 11, 11, 11, 11, 11));
    expect(measured('max', [rises], segments).amounts).toEqual({ s1: 7n, s2: 4n });
  });

  it('does not let suspended time speak for billed time, nor the other way about', () => {
    const cut = hour(1) + min(30);
    const segments = [one('max', { endsAt: cut, billable: false }), one('max', { segmentId: 's2', startsAt: cut })];
    const falls = stream(values(hour(1), 9, 9, 9, 9, 9, 9, 4, 4, 4, 4, 4, 4));
    // At the cut the 9 still holds for no time at all: the sample at the cut is the new segment's first.
    expect(measured('max', [falls], segments).amounts).toEqual({ s1: 9n, s2: 4n });
    const closes = run(2, (n) => meterHour(n, { kind: 'max' }), segments, [stream([...every5(0, 9n), ...falls.samples])]);
    expect([term(closes[1]!, 'non_billable'), term(closes[1]!, 'pending')]).toEqual([9n, 4n]);
  });

  it('carries a value over two missed samples as an estimate, and no further', () => {
    const s = stream([sample(hour(1), 5n), sample(hour(1) + min(50), 2n), sample(hour(1) + min(55), 2n)]);
    const found = measured('max', [s]);
    expect([found.amounts, found.quality]).toEqual([{ s1: 5n }, 'estimated']);
    // Beside it another stream rises in the hole: only what is known by then is added up.
    const other = stream(values(hour(1), 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0), { stream: 'p2' });
    expect(measured('max', [s, other]).amounts).toEqual({ s1: 6n });
  });
});

describe('a meter of the latest value of an hour', () => {
  it('is the total at the end, whatever was before', () => {
    const s = stream(values(hour(1), 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 4));
    expect(measured('latest', [s]).amounts).toEqual({ s1: 4n });
  });

  it('belongs to the segment that is in force then', () => {
    const cut = hour(1) + min(30);
    const segments = [one('latest', { endsAt: cut }), one('latest', { segmentId: 's2', startsAt: cut })];
    expect(measured('latest', [flat(1, 7)], segments).amounts).toEqual({ s1: 0n, s2: 7n });
  });

  it('bills what held last while it was billed, where the purchase is suspended at the end', () => {
    const cut = hour(1) + min(30);
    const segments = [one('latest', { endsAt: cut }), one('latest', { segmentId: 's2', startsAt: cut, billable: false })];
    const s = stream(values(hour(1), 7, 7, 7, 7, 7, 6, 3, 3, 3, 3, 3, 3));
    expect(measured('latest', [s], segments).amounts).toEqual({ s1: 6n, s2: 3n });
  });

  it('does not count a placement twice that moved to another cluster in the hour', () => {
    const moved = hour(1) + min(30);
    const before = stream(values(hour(1), 7, 7, 7, 7, 7, 7), { stream: 'a', until: moved });
    const after = stream(values(moved, 7, 7, 7, 7, 7, 7), { stream: 'b', from: moved });
    for (const kind of ['max', 'latest'] as const) expect(measured(kind, [before, after]).amounts).toEqual({ s1: 7n });
  });

  it('is nothing once the placement is gone, and an estimate where its source fell silent', () => {
    const gone = stream(values(hour(1), 7, 7, 7), { until: hour(1) + min(15) });
    expect(measured('latest', [gone])).toMatchObject({ amounts: { s1: 0n }, quality: 'measured' });
    const silent = measured('latest', [stream(values(hour(1), 7, 7, 5))]);
    expect([silent.amounts, silent.quality]).toEqual([{ s1: 5n }, 'estimated']);
  });
});

describe('any level', () => {
  const streams = fc.array(
    fc.record({
      from: fc.integer({ min: 0, max: 70 }),
      lives: fc.option(fc.integer({ min: 1, max: 60 })),
      samples: fc.array(fc.tuple(fc.integer({ min: 0, max: 119 }), fc.bigInt({ min: 0n, max: 50n })), { maxLength: 20 }),
    }),
    { minLength: 1, maxLength: 4 },
  );

  it('is what a list of all minutes says, for any streams and cuts', () => {
    fc.assert(
      fc.property(
        streams,
        fc.uniqueArray(fc.integer({ min: 61, max: 119 }), { maxLength: 3 }),
        fc.integer({ min: -1, max: 3 }),
        (all, cuts, off) => {
          const bounds = [60, ...cuts.sort((a, b) => a - b)];
          const segmentsOf = (kind: 'max' | 'latest'): HourSegment[] =>
            bounds.map((b, i) =>
              one(kind, {
                segmentId: `s${i}`,
                startsAt: hour(0) + min(b),
                endsAt: bounds[i + 1] === undefined ? null : hour(0) + min(bounds[i + 1]!),
                billable: i !== off,
              }),
            );
          const given = all.map((s, i) => {
            const until = s.lives === null ? null : s.from + s.lives;
            const inside = s.samples.filter(([m]) => m >= Math.max(60, s.from) && (until === null || m < until));
            return { ...s, until, name: `p${i}`, inside: new Map(inside.map(([m, v]) => [m, v])) };
          });
          const asStreams = given.map((s) =>
            stream(
              [...s.inside].map(([m, v]) => sample(hour(0) + min(m), v)),
              { stream: s.name, from: hour(0) + min(s.from), until: s.until === null ? null : hour(0) + min(s.until) },
            ),
          );
          // Of our own events, which are known at once: no holes.
          const amounts = (kind: 'max' | 'latest'): Map<string, bigint> =>
            new Map(
              [...measureHour(meterHour(1, { kind, source: 'engine' }), segmentsOf(kind), {}, asStreams).bySegment].map(([id, x]) => [
                id,
                x.measured + x.estimated,
              ]),
            );
          const minutes = Array.from({ length: 60 }, (_, i) => 60 + i).map((m) => {
            let known = false;
            let total = 0n;
            for (const s of given) {
              if (s.until !== null && m >= s.until) known = true;
              else
                for (let back = m; back >= Math.max(60, s.from); back -= 1) {
                  const v = s.inside.get(back);
                  if (v === undefined) continue;
                  known = true;
                  total += v;
                  break;
                }
            }
            const i = bounds.filter((b) => b <= m).length - 1;
            return { known, total, segmentId: `s${i}`, billed: i !== off };
          });
          for (const billed of [true, false]) {
            const mine = minutes.filter((m) => m.known && m.billed === billed);
            const ids = new Set(bounds.flatMap((_, i) => ((i !== off) === billed ? [`s${i}`] : [])));
            const sumOf = (kind: 'max' | 'latest'): bigint =>
              [...amounts(kind)].reduce((sum, [id, x]) => (ids.has(id) ? sum + x : sum), 0n);
            expect(sumOf('max')).toBe(mine.reduce((most, m) => (m.total > most ? m.total : most), 0n));
            expect(sumOf('latest')).toBe(mine.at(-1)?.total ?? 0n);
            if (mine.length > 0) expect(amounts('latest').get(mine.at(-1)!.segmentId)).toBe(mine.at(-1)!.total);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each([
    // One stream told 5 on the hour and nothing more; the other raises the total at a minute where that 5 …
    ['is measured while it holds', 4, 11n, { measured: 11n, estimated: 0n }],
    ['is estimated while it is carried on', 9, 11n, { measured: 5n, estimated: 6n }],
    ['is estimated once it is forgotten', 20, 6n, { measured: 5n, estimated: 1n }],
  ])('says what it is sure of: a total with a silent stream %s', (_what, minute, most, terms) => {
    const silent = stream([sample(hour(1), 5n)], { stream: 'silent' });
    const other = stream([...values(hour(1), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), sample(hour(1) + min(minute), 6n)], { stream: 'other' });
    const m = measureHour(meterHour(1, { kind: 'max' }), [one('max')], {}, [silent, other]);
    const { measured: sure, estimated } = m.bySegment.get('s1')!;
    expect({ measured: sure, estimated }).toEqual(terms);
    expect([sure + estimated, m.gapUs, m.quality]).toEqual([most, min(45), 'estimated']);
  });

  it('is an estimate at the end where its source fell silent before', () => {
    const m = measureHour(meterHour(1, { kind: 'latest' }), [one('latest')], {}, [stream(values(hour(1), 7, 5))]);
    // The 5 was carried to 10:20; nobody knows what was there at 11:00.
    expect(m.bySegment.get('s1')).toEqual({ measured: 0n, estimated: 5n, quality: 'estimated' });
    const cut = hour(1) + min(8);
    const segments = [one('latest', { endsAt: cut }), one('latest', { segmentId: 's2', startsAt: cut, billable: false })];
    // Where it is billed only until the cut, it was sure to the end of that time.
    const upTo = measureHour(meterHour(1, { kind: 'latest' }), segments, {}, [stream(values(hour(1), 7, 5))]);
    expect(upTo.bySegment.get('s1')).toMatchObject({ measured: 5n, estimated: 0n });
    // Billed again later, when nothing is known any more: the last that is known is no sure end.
    segments[1]!.endsAt = hour(1) + min(40);
    segments.push(one('latest', { segmentId: 's3', startsAt: hour(1) + min(40) }));
    const again = measureHour(meterHour(1, { kind: 'latest' }), segments, {}, [stream(values(hour(1), 7, 5))]);
    expect(again.bySegment.get('s1')).toMatchObject({ measured: 0n, estimated: 5n });
  });

  it('tells in its lines how its amount came together', () => {
    const s = stream(values(hour(1), 3, 5, 4, 9, 2, 2, 2, 2, 2, 2, 2, 2));
    const { lines } = measured('max', [s]);
    expect(lines.map((l) => [l.from - hour(1), l.value, l.amount])).toEqual([
      [0n, 3n, 3n],
      [min(5), 5n, 2n],
      [min(15), 9n, 4n],
    ]);
  });
});

describe('a meter of amounts that are each told once', () => {
  const sum: MeterTerms = { ...gauge, kind: 'sum', metric: 'requests', dimension: 'requests', basePerUnit: '1', listedUnit: 'request' };
  const close = (streams: StreamSamples[], segments = [segment({ terms: sum })], hours = 2) =>
    run(hours, (n) => meterHour(n, { kind: 'sum' }), segments, streams);

  it('adds them up, and takes silence for nothing', () => {
    const closes = close([stream([sample(hour(0) + min(1), 3n), sample(hour(0) + min(50), 4n)])], undefined, 3);
    expect(closes.map((c) => [c.records[0]?.quantity, c.quality])).toEqual([
      ['7', 'measured'],
      [undefined, 'measured'],
      [undefined, 'measured'],
    ]);
  });

  it('counts two amounts of one moment both, and one on the hour in the hour that begins', () => {
    const at = hour(1);
    const closes = close([stream([sample(at, 3n, 1n), sample(at, 3n, 2n), sample(at, 3n, 2n)])]);
    expect(closes.map((c) => c.records[0]?.quantity)).toEqual([undefined, '9']);
  });

  it('puts each into the segment of its moment; one at the cut opens the new one', () => {
    const cut = hour(0) + min(30);
    const segments = [segment({ terms: sum, endsAt: cut }), segment({ terms: sum, segmentId: 's2', startsAt: cut, billable: false })];
    const [c] = close([stream([sample(cut - 1n, 1n), sample(cut, 10n), sample(cut + 1n, 100n)])], segments, 1);
    balanced(c!);
    expect([term(c!, 'pending'), term(c!, 'non_billable')]).toEqual([1n, 110n]);
  });

  it('counts nothing that a placement told before or after it was the purchase’s, or after the end', () => {
    const s = stream(
      [sample(hour(0) + min(4), 1n), sample(hour(0) + min(5), 10n), sample(hour(0) + min(9), 100n), sample(hour(0) + min(10), 1000n)],
      {
        from: hour(0) + min(5),
        until: hour(0) + min(10),
      },
    );
    expect(term(close([s], undefined, 1)[0]!, 'measured')).toBe(110n);
    const ended = run(
      1,
      () => meterHour(0, { kind: 'sum', endedAt: hour(0) + min(9) }),
      [segment({ terms: sum, endsAt: hour(0) + min(9) })],
      [s],
    );
    expect(term(ended[0]!, 'measured')).toBe(10n);
  });

  it('hands no sample to the next hour', () => {
    const [c] = close([stream([sample(hour(0) + min(1), 3n)])], undefined, 1);
    expect(c!.closing.streams).toEqual({});
  });
});
