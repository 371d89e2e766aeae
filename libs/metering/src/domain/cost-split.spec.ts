import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDecimal } from '#platform';
import { COST_SPLIT_LIMITS, type CostPart, type CostSplitLimits } from '#marketplaces/core';
import type { MeterTerms } from '#entitlements';
import { closeHour } from './close-hour.js';
import { shareOut, splitRecords, type PartsAt, type SamplePart } from './cost-split.js';
import { readSplit } from './sample-split.js';
import { emptyOpening, type Opening, type StreamSamples } from './types.js';
import { counter, every5, gauge, GIB, hour, meterHour, min, sample, segment, stream } from '../testing/hours.js';

const split = { labels: [{ name: 'department', as: 'Department' }], rest: 'other' };
const LIMITS = COST_SPLIT_LIMITS.aws!;
const of = (department: string, value: bigint): SamplePart => ({ labels: { department }, value });
const sumOf = (parts: CostPart[]): bigint => parts.reduce((sum, p) => sum + parseDecimal(p.quantity).digits, 0n);

interface Given {
  terms?: MeterTerms;
  streams: StreamSamples[];
  partsAt: PartsAt;
  opening?: Opening;
  limits?: CostSplitLimits | null;
  n?: number;
  cut?: bigint;
}
function splitOf({
  terms = { ...gauge, costSplit: split },
  streams,
  partsAt,
  opening = emptyOpening(),
  limits = LIMITS,
  n = 0,
  cut,
}: Given) {
  const meter = meterHour(n, { kind: terms.kind });
  const segments =
    cut === undefined
      ? [segment({ terms })]
      : [segment({ terms, endsAt: cut }), segment({ terms, segmentId: 's2', startsAt: cut, endsAt: null })];
  const close = closeHour(meter, segments, opening, streams, []);
  const parts = splitRecords(meter, segments, opening, streams, partsAt, close.records, limits);
  return { close, parts, first: parts.get(close.records[0]!) };
}

describe('a record that is split by labels', () => {
  it('gives each label what it held of the gauge, and the rest to the name of the rest', () => {
    // 10 GiB over the hour: 6 of one, 3 of another, 1 of nobody.
    const { first } = splitOf({
      streams: [stream(every5(0, 10n * GIB))],
      partsAt: () => [of('it', 6n * GIB), of('hr', 3n * GIB)],
    });
    expect(first).toEqual([
      { labels: { Department: 'hr' }, quantity: '3' },
      { labels: { Department: 'it' }, quantity: '6' },
      { labels: { Department: 'other' }, quantity: '1' },
    ]);
  });

  it('counts a part of a counter from the sample before, also from the hour before, and a new one from nothing', () => {
    const terms = { ...counter, costSplit: split };
    const opening: Opening = { ...emptyOpening(), streams: { p1: { at: hour(0) - min(5), value: 10n << 20n, epoch: 'e1', sequence: 1n } } };
    const at: Record<string, SamplePart[]> = {
      [`${hour(0) - min(5)}`]: [of('it', 4n << 20n)],
      [`${hour(0)}`]: [of('it', 9n << 20n)],
      [`${hour(0) + min(5)}`]: [of('it', 9n << 20n), of('hr', 3n << 20n)],
    };
    const { first } = splitOf({
      terms,
      opening,
      streams: [stream([sample(hour(0), 16n << 20n), sample(hour(0) + min(5), 20n << 20n)])],
      partsAt: (_, s) => at[`${s.at}`] ?? [],
    });
    // 10 MiB in all: 5 of it, 3 of hr, 2 of nobody.
    expect(first!.map((p) => [p.labels['Department'], p.quantity])).toEqual([
      ['hr', '3'],
      ['it', '5'],
      ['other', '2'],
    ]);
  });

  it('rounds by largest remainder, and of equal ones by name: the same each time', () => {
    const w = (...weights: [string, bigint][]): [string, bigint][] => [...shareOut(10n, new Map(weights))];
    expect(w(['a', 1n], ['b', 1n], ['c', 1n])).toEqual([
      ['a', 4n],
      ['b', 3n],
      ['c', 3n],
    ]);
    expect(w(['c', 1n], ['b', 1n], ['a', 1n])).toEqual(w(['a', 1n], ['b', 1n], ['c', 1n]));
    expect(w(['a', 16n], ['b', 17n], ['c', 67n])).toEqual([
      ['a', 1n],
      ['b', 2n],
      ['c', 7n],
    ]);
  });

  it('puts what the marketplace would refuse, and what is more than it takes, into the rest', () => {
    const given = {
      streams: [stream(every5(0, 10n * GIB))],
      partsAt: () => [of('Ünits', 2n * GIB), of('a', GIB), of('b', 3n * GIB), of('c', 4n * GIB)],
    };
    expect(splitOf(given).first!.map((p) => [p.labels['Department'], p.quantity])).toEqual([
      ['a', '1'],
      ['b', '3'],
      ['c', '4'],
      ['other', '2'],
    ]);
    expect(splitOf({ ...given, limits: { ...LIMITS, parts: 3 } }).first!.map((p) => [p.labels['Department'], p.quantity])).toEqual([
      ['b', '3'],
      ['c', '4'],
      ['other', '3'],
    ]);
    expect(splitOf({ ...given, limits: { ...LIMITS, bytes: 400 } }).first!.map((p) => p.labels['Department'])).toEqual(['other']);
  });

  it('is all rest where nothing of its hour was measured, and none where there is no record or no such plan', () => {
    const unsplit = splitOf({ terms: gauge, streams: [stream(every5(0, GIB))], partsAt: () => [of('it', GIB)] });
    expect(unsplit.close.records).toHaveLength(1);
    expect(unsplit.parts.size).toBe(0);
    expect(splitOf({ streams: [stream(every5(0, GIB))], partsAt: () => [of('it', GIB)], limits: null }).parts.size).toBe(0);
    const silent = splitOf({ streams: [stream(every5(0, GIB))], partsAt: () => [] });
    expect(silent.first).toEqual([{ labels: { Department: 'other' }, quantity: '1' }]);
  });

  it('adds up to the quantity exactly, for any samples, parts, cuts and limits', () => {
    const parts = fc.array(
      fc.record({ name: fc.constantFrom('it', 'hr', 'ops', 'x y', 'ü', 'other'), share: fc.integer({ min: 0, max: 100 }) }),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(
        fc.record({
          isCounter: fc.boolean(),
          decimals: fc.integer({ min: 0, max: 6 }),
          values: fc.array(fc.record({ value: fc.bigInt({ min: 0n, max: 1n << 40n }), parts }), { minLength: 1, maxLength: 12 }),
          before: fc.option(fc.record({ value: fc.bigInt({ min: 0n, max: 1n << 40n }), parts })),
          cut: fc.option(fc.integer({ min: 1, max: 59 })),
          limit: fc.integer({ min: 1, max: 4 }),
          rest: fc.constantFrom('other', 'it'),
        }),
        (g) => {
          const terms = { ...(g.isCounter ? counter : gauge), decimals: g.decimals, costSplit: { ...split, rest: g.rest } };
          const said = new Map<bigint, SamplePart[]>();
          const note = (at: bigint, v: { value: bigint; parts: { name: string; share: number }[] }): void => {
            const whole = BigInt(
              Math.max(
                100,
                v.parts.reduce((s, p) => s + p.share, 0),
              ),
            );
            said.set(
              at,
              v.parts.map((p) => of(p.name, (v.value * BigInt(p.share)) / whole)),
            );
          };
          const samples = g.values.map((v, i) => {
            note(hour(0) + min(5 * i), v);
            return sample(hour(0) + min(5 * i), v.value);
          });
          const opening = emptyOpening();
          if (g.before) {
            note(hour(0) - min(2), g.before);
            opening.streams['p1'] = { at: hour(0) - min(2), value: g.before.value, epoch: 'e1', sequence: 1n };
          }
          const { close, parts: splits } = splitOf({
            terms,
            opening,
            streams: [stream(samples)],
            partsAt: (_, s) => said.get(s.at) ?? [],
            limits: { ...LIMITS, parts: g.limit },
            ...(g.cut === null ? {} : { cut: hour(0) + min(g.cut) }),
          });
          for (const record of close.records) {
            const own = splits.get(record);
            if (parseDecimal(record.quantity).digits === 0n) expect(own).toBeUndefined();
            else {
              expect(sumOf(own!)).toBe(parseDecimal(record.quantity).digits);
              expect(own!.length).toBeLessThanOrEqual(g.limit);
              expect(new Set(own!.map((p) => p.labels['Department'])).size).toBe(own!.length);
              expect(own!.every((p) => parseDecimal(p.quantity).digits > 0n)).toBe(true);
            }
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('the parts of a sample', () => {
  it.each([
    ['no list', {}, /list/],
    ['a part without labels', [{ value: '1' }], /no labels/],
    ['no label at all', [{ labels: {}, value: '1' }], /1 to 8 labels/],
    ['a name with capitals', [{ labels: { Team: 'x' }, value: '1' }], /lower-case name/],
    ['a control character', [{ labels: { team: 'a\nb' }, value: '1' }], /printable/],
    ['a number', [{ labels: { team: 'x' }, value: 1 }], /decimal text/],
    [
      'more than the whole',
      [
        { labels: { team: 'x' }, value: '6' },
        { labels: { team: 'y' }, value: '5' },
      ],
      /add up to more/,
    ],
    ['too many', Array.from({ length: 1_001 }, (_, i) => ({ labels: { team: `t${i}` }, value: '0' })), /at most 1000/],
  ])('are refused with words: %s', (_, raw, words) => {
    expect(readSplit(raw, 10n)).toMatch(words);
  });

  it('may be left out, and may leave a rest', () => {
    expect(readSplit(undefined, 10n)).toBeUndefined();
    expect(readSplit([], 10n)).toBeUndefined();
    expect(readSplit([{ labels: { team: 'x' }, value: '6' }], 10n)).toEqual([{ labels: { team: 'x' }, value: 6n }]);
  });
});
