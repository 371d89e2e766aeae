import { canonicalJson, type Tx } from '#platform';
import { COST_SPLIT_LIMITS, labelsKey, type CostPart, type Marketplace, type UsageTraits } from '#marketplaces/core';
import { splitRecords } from '../domain/cost-split.js';
import { differences, explainHour, type HourExplanation, type StoredHour } from '../domain/explain-hour.js';
import { openingFromJson, openingToJson } from '../domain/opening-json.js';
import type { CarryIn, EntryDraft, HourSegment, MeterHour, Opening, StreamSamples } from '../domain/types.js';
import { instantText, toUs } from '../domain/units.js';
import { loadParts } from './cost-split.sql.js';
import { namesItem } from './items.sql.js';
import { SegmentsOfHour } from './segments-of-hour.js';
import { readPurchaseBindings } from './purchase-bindings.sql.js';
import { SamplesOfHour, withSilentStreams } from './samples.sql.js';
import { findSeries, type SeriesRow } from './series.sql.js';
import { digestOf } from '../domain/leaf.js';

interface ClosingRow {
  opening: unknown;
  closing: unknown;
  inputs_digest: string;
  quality: string;
  closed_at: Date;
  rules: number;
}
export interface RecordFacts {
  quantity: string;
  baseQuantity: bigint;
  quality: string;
  /** How it was split by labels; null where it was not. */
  parts: CostPart[] | null;
}
export interface LookedBack {
  series: SeriesRow;
  closedAt: Date;
  streams: StreamSamples[];
  again: HourExplanation;
  /** The samples at hand are those the hour was closed with. */
  sameInputs: boolean;
  /** What differs between the stored rows and the calculation made again; empty where nothing does. */
  differs: string[];
  /** Corrections written into the hour after it was closed. */
  later: { term: string; cause: string; ref: string; quantity: string; recordedAt: Date }[];
}

/**
 * A closed hour calculated again from what it was closed with: the stored opening, the samples that were here then (proved by
 * the stored digest) and the carry-ins it took. Two facts are not stored and are tried: whether the end of the purchase was
 * known, and whether a source was behind. Null where the hour is not closed.
 */
export async function lookBack(
  tx: Tx,
  q: {
    subscriptionId: string;
    meter: string;
    hour: bigint;
    segmentId: string;
    record: RecordFacts | null;
    traits: UsageTraits;
    lineRate: bigint;
  },
): Promise<LookedBack | null> {
  const series = await findSeries(tx, q.subscriptionId, q.meter);
  const [closing] = await tx.query<ClosingRow>(
    `select c.opening, c.closing, c.inputs_digest, c.quality, c.closed_at, coalesce(s.rules, 1) as rules
       from hour_closings c left join closing_steps s on s.kind = 'close' and s.shard = c.shard and s.root_sequence = c.root_sequence
      where c.subscription_id = $1 and c.meter = $2 and c.hour = $3::timestamptz`,
    [q.subscriptionId, q.meter, instantText(q.hour)],
  );
  if (!series || !closing) return null;
  const opening = openingFromJson(closing.opening);
  const carryIns = await consumedBy(tx, q.subscriptionId, q.meter, q.hour);
  const { streams, same } = await samplesThen(tx, series, q.hour, closing, opening);
  const segments = await SegmentsOfHour.load(tx, [q.subscriptionId], q.hour);
  const ofHour = segments.of(q.subscriptionId, q.meter, q.hour, [
    ...Object.keys(opening.segments),
    ...carryIns.map((c) => c.segmentId),
    q.segmentId,
  ]);
  const capacity = segments.capacity(q.subscriptionId);
  const { own, later } = await entriesOf(tx, q.subscriptionId, q.meter, q.hour);
  const stored: StoredHour = {
    quantity: q.record?.quantity ?? 'no record',
    baseQuantity: q.record?.baseQuantity ?? 0n,
    quality: q.record?.quality ?? 'no record',
    entries: own,
  };
  let best: { meter: MeterHour; again: HourExplanation; differs: string[] } | null = null;
  for (const endedAt of new Set([series.endedAt, null]))
    for (const watermark of [null, q.hour]) {
      const meter: MeterHour = {
        meter: q.meter,
        kind: series.kind,
        source: series.source,
        hourStart: q.hour,
        endedAt,
        watermark,
        traits: q.traits,
        capacityBytes:
          capacity === null ? null : opening.capacityBytes !== null && opening.capacityBytes > capacity ? opening.capacityBytes : capacity,
        lineRateBytesPerSecond: q.lineRate,
        rules: closing.rules,
      };
      const again = explainHour({ meter, segments: ofHour, opening, streams, carryIns }, q.segmentId);
      const differs = differences(stored, again);
      if (canonicalJson(openingToJson(again.close.closing)) !== canonicalJson(openingToJson(openingFromJson(closing.closing))))
        differs.push('what the hour hands to the next one is not what is stored');
      if (again.close.quality !== closing.quality)
        differs.push(`quality of the hour: stored ${closing.quality}, calculated again ${again.close.quality}`);
      if (best === null || differs.length < best.differs.length) best = { meter, again, differs };
    }
  const { meter, again, differs } = best!;
  const parts = await partsAgain(tx, series, meter, ofHour, opening, streams, again);
  if (partsText(parts) !== partsText(q.record?.parts ?? null))
    differs.push(`split by labels: stored ${partsText(q.record?.parts ?? null)}, calculated again ${partsText(parts)}`);
  return { series, closedAt: closing.closed_at, streams, sameInputs: same, again, differs, later };
}

/** The record's quantity shared out once more by what the samples say of their parts; null where the plan does not ask. */
async function partsAgain(
  tx: Tx,
  series: SeriesRow,
  meter: MeterHour,
  segments: HourSegment[],
  opening: Opening,
  streams: StreamSamples[],
  again: HourExplanation,
): Promise<CostPart[] | null> {
  if (!again.record || !segments.some((s) => s.terms?.costSplit)) return null;
  const partsAt = (await loadParts(tx, [{ metric: series.metric, opening, streams }]))(series.metric);
  const splits = splitRecords(
    meter,
    segments,
    opening,
    streams,
    partsAt,
    again.close.records,
    COST_SPLIT_LIMITS[series.marketplace as Marketplace],
  );
  return splits.get(again.record) ?? null;
}

/** Parts in an order of their own, so that two lists of the same parts are the same text. */
const partsText = (parts: readonly CostPart[] | null): string =>
  parts === null
    ? 'none'
    : parts
        .map((p) => `${labelsKey(p.labels)} ${p.quantity}`)
        .sort()
        .join(', ');

async function samplesThen(
  tx: Tx,
  series: SeriesRow,
  hour: bigint,
  closing: ClosingRow,
  opening: ReturnType<typeof openingFromJson>,
): Promise<{ streams: StreamSamples[]; same: boolean }> {
  let first: StreamSamples[] | null = null;
  const bindings = await readPurchaseBindings(tx, [series.subscriptionId]);
  // One that came in the millisecond of the closing may lie on either side of it; the digest tells.
  for (const by of [closing.closed_at, new Date(closing.closed_at.getTime() - 1), null]) {
    const found = await SamplesOfHour.gather(tx, [series], bindings, hour, by);
    const streams = withSilentStreams(series.source, opening, found.of(series));
    if (digestOf(streams, hour).digest === closing.inputs_digest) return { streams, same: true };
    first ??= streams;
  }
  return { streams: first!, same: false };
}

/** Carry-ins that this closing took; those that an end took later have entries of their own. */
async function consumedBy(tx: Tx, subscriptionId: string, meter: string, hour: bigint): Promise<CarryIn[]> {
  const rows = await tx.query<{
    carry_in_id: string;
    segment_id: string;
    kind: CarryIn['kind'];
    stage: CarryIn['stage'];
    from_hour: Date;
    amount: string;
  }>(
    `select c.carry_in_id, c.segment_id, c.kind, c.stage, c.from_hour, c.amount::text from carry_ins c
       join ledger_entries e on e.subscription_id = c.subscription_id and e.meter = c.meter and e.hour = c.consumed_by_hour and e.term = 'deferred' and e.cause = 'consumed' and e.ref = c.carry_in_id::text
      where c.subscription_id = $1 and c.meter = $2 and c.consumed_by_hour = $3::timestamptz order by c.from_hour, c.origin`,
    [subscriptionId, meter, instantText(hour)],
  );
  return rows.map((r) => ({
    carryInId: r.carry_in_id,
    segmentId: r.segment_id,
    kind: r.kind,
    stage: r.stage,
    fromHour: toUs(r.from_hour),
    amount: BigInt(r.amount),
  }));
}

async function entriesOf(
  tx: Tx,
  subscriptionId: string,
  meter: string,
  hour: bigint,
): Promise<{ own: EntryDraft[]; later: LookedBack['later'] }> {
  const rows = await tx.query<{
    segment_id: string | null;
    term: EntryDraft['term'];
    cause: string;
    ref: string;
    quantity: string;
    recorded_at: Date;
    later: boolean;
  }>(
    `select e.segment_id, e.term, e.cause, e.ref, e.quantity::text, e.recorded_at,
            (e.ref ~ '^late-' or ${namesItem('e.ref')}) as later
       from ledger_entries e where e.subscription_id = $1 and e.meter = $2 and e.hour = $3::timestamptz order by e.recorded_at, e.term, e.cause, e.ref`,
    [subscriptionId, meter, instantText(hour)],
  );
  return {
    own: rows
      .filter((r) => !r.later)
      .map((r) => ({ segmentId: r.segment_id, term: r.term, cause: r.cause, ref: r.ref, quantity: BigInt(r.quantity) })),
    later: rows
      .filter((r) => r.later)
      .map((r) => ({ term: r.term, cause: r.cause, ref: r.ref, quantity: r.quantity, recordedAt: r.recorded_at })),
  };
}
