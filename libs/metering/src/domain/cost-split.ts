import { parseDecimal } from '#platform';
import { labelsKey, type CostPart, type CostSplitLimits } from '#marketplaces/core';
import type { MeterTerms } from '#entitlements';
import { measureHour } from './measure-hour.js';
import type { Measured } from './measure-parts.js';
import type { HourSegment, MeterHour, Opening, RecordDraft, StreamSamples, StreamState } from './types.js';
import { quantaText } from './units.js';

type CostSplitTerms = NonNullable<MeterTerms['costSplit']>;
type Labels = Record<string, string>;

/** What a sample says of its value: so much of it belongs to these labels. Nothing said is unlabelled. */
export interface SamplePart {
  labels: Labels;
  value: bigint;
}
/** The parts of a stream's sample; empty where it said nothing. */
export type PartsAt = (stream: string, sample: Pick<StreamState, 'at' | 'sequence' | 'epoch'>) => readonly SamplePart[];

/**
 * How the records of a closed hour are split by the labels that their plan names. Each set of labels is measured as a series of its
 * own by the very rules of the whole (`measureHour`), and the record's quantity is shared out by these measures. So a split never
 * moves an amount: it only says whose part of the record it is. What was carried in from other hours, or drawn from an included
 * quantity, is shared as the hour's own usage is.
 */
export function splitRecords(
  meter: Pick<MeterHour, 'kind' | 'source' | 'hourStart' | 'endedAt' | 'watermark'>,
  segments: HourSegment[],
  opening: Opening,
  streams: StreamSamples[],
  partsAt: PartsAt,
  records: readonly RecordDraft[],
  limits: CostSplitLimits | null,
): Map<RecordDraft, CostPart[]> {
  const out = new Map<RecordDraft, CostPart[]>();
  if (!limits) return out;
  const ordered = [...segments].sort((a, b) => (a.startsAt < b.startsAt ? -1 : a.startsAt > b.startsAt ? 1 : 0));
  const whole = measureHour(meter, ordered, opening.streams, streams);
  for (const record of records) {
    const terms = segments.find((s) => s.segmentId === record.segmentId)?.terms?.costSplit;
    const quanta = parseDecimal(record.quantity).digits;
    if (!terms || quanta === 0n) continue;
    const read = (stream: string, of: Parameters<PartsAt>[1]): Map<string, bigint> => byLabels(partsAt(stream, of), terms, limits);
    const weights = new Map<string, bigint>();
    let labelled = 0n;
    for (const key of keysOf(opening, streams, read)) {
      const of = (stream: string, s: StreamState): StreamState => ({ ...s, value: read(stream, s).get(key) ?? 0n });
      const states = Object.fromEntries(Object.entries(opening.streams).map(([stream, s]) => [stream, of(stream, s)]));
      const own = streams.map((s) => ({
        ...s,
        baseline: s.baseline && of(s.stream, s.baseline),
        samples: s.samples.map((x) => of(s.stream, x)),
      }));
      const weight = amountOf(measureHour(meter, ordered, states, own).bySegment.get(record.segmentId));
      if (weight > 0n) weights.set(key, weight);
      labelled += weight;
    }
    const rest = amountOf(whole.bySegment.get(record.segmentId)) - labelled;
    const restKey = labelsKey(restLabels(terms));
    // Nothing measured here (what is sent was carried in): all of it is the rest.
    if (rest > 0n || weights.size === 0) weights.set(restKey, (weights.get(restKey) ?? 0n) + (rest > 0n ? rest : 1n));
    out.set(
      record,
      [...fitted(shareOut(quanta, weights), restKey, limits)].map(([key, part]) => ({
        labels: Object.fromEntries(JSON.parse(key) as [string, string][]),
        quantity: quantaText(part, record.decimals),
      })),
    );
  }
  return out;
}

const amountOf = (m: Measured | undefined): bigint => (m ? m.measured + m.estimated : 0n);

/** Every label says that it is the rest, so that a buyer who groups by any one of them finds it. */
const restLabels = (terms: CostSplitTerms): Labels => Object.fromEntries(terms.labels.map((l) => [l.as, terms.rest]));

/** Only the labels that the plan names, under the marketplace's names; parts of one set are one. */
function byLabels(parts: readonly SamplePart[], terms: CostSplitTerms, limits: CostSplitLimits): Map<string, bigint> {
  const sums = new Map<string, bigint>();
  for (const { labels, value } of parts) {
    const named = terms.labels.flatMap(({ name, as }) => (labels[name] === undefined ? [] : [[as, labels[name]] as const]));
    // What the marketplace would refuse is not sent in another spelling: it is part of the rest.
    if (named.length === 0 || named.some(([, text]) => !limits.value.test(text))) continue;
    const key = labelsKey(Object.fromEntries(named));
    sums.set(key, (sums.get(key) ?? 0n) + value);
  }
  return sums;
}

function keysOf(
  opening: Opening,
  streams: StreamSamples[],
  read: (stream: string, of: Parameters<PartsAt>[1]) => Map<string, bigint>,
): string[] {
  const keys = new Set<string>();
  const note = (stream: string, of: Parameters<PartsAt>[1]): void => {
    for (const key of read(stream, of).keys()) keys.add(key);
  };
  for (const [stream, state] of Object.entries(opening.streams)) note(stream, state);
  for (const s of streams) {
    if (s.baseline) note(s.stream, s.baseline);
    for (const sample of s.samples) note(s.stream, sample);
  }
  return [...keys].sort();
}

/**
 * Largest remainder: each gets the whole quanta of its share, and those that are left go one each to the largest remainders; of
 * equal ones to the key that sorts first. The shares add up to `quanta` exactly.
 */
export function shareOut(quanta: bigint, weights: ReadonlyMap<string, bigint>): Map<string, bigint> {
  const total = [...weights.values()].reduce((sum, w) => sum + w, 0n);
  if (total <= 0n) throw new Error('there is nothing to share by');
  const shares = [...weights].map(([key, w]) => ({ key, share: (quanta * w) / total, over: (quanta * w) % total }));
  let left = quanta - shares.reduce((sum, s) => sum + s.share, 0n);
  shares.sort((a, b) => (a.over !== b.over ? (a.over > b.over ? -1 : 1) : a.key < b.key ? -1 : 1));
  for (const s of shares) {
    if (left === 0n) break;
    s.share += 1n;
    left -= 1n;
  }
  return new Map(
    shares
      .filter((s) => s.share > 0n)
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .map((s) => [s.key, s.share]),
  );
}

/** JSON around a part, its names and its amount. */
const BYTES_PER_PART = 120;
const BYTES_PER_LABEL = 40;

/** What is more than the marketplace takes goes into the rest, the smallest parts first. */
function fitted(shares: Map<string, bigint>, restKey: string, limits: CostSplitLimits): Map<string, bigint> {
  const bytesOf = (key: string): number => BYTES_PER_PART + key.length + BYTES_PER_LABEL * limits.labels;
  const largest = [...shares].filter(([key]) => key !== restKey).sort(([a, x], [b, y]) => (x !== y ? (x > y ? -1 : 1) : a < b ? -1 : 1));
  let rest = shares.get(restKey) ?? 0n;
  const fits = (parts: number, bytes: number, over: boolean): boolean =>
    parts + (over ? 1 : 0) <= limits.parts && bytes + (over ? bytesOf(restKey) : 0) <= limits.bytes;
  let kept = largest.length;
  let bytes = largest.reduce((sum, [key]) => sum + bytesOf(key), 0);
  while (kept > 0 && !fits(kept, bytes, rest > 0n)) {
    const [key, share] = largest[--kept]!;
    rest += share;
    bytes -= bytesOf(key);
  }
  const all = largest.slice(0, kept);
  if (rest > 0n) all.push([restKey, rest]);
  return new Map(all.sort(([a], [b]) => (a < b ? -1 : 1)));
}
