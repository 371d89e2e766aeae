import { arrayText, errorText, type Tx } from '#platform';
import { COST_SPLIT_LIMITS } from '#marketplaces/core';
import { readMeteredSubscriptions, type MeteredSubscription } from '#entitlements';
import { closeHour } from '../domain/close-hour.js';
import { splitRecords, type PartsAt } from '../domain/cost-split.js';
import { digestOf } from '../domain/leaf.js';
import type { CarryIn, HourClose, HourSegment, MeterHour, StreamSamples } from '../domain/types.js';
import { fromUs, hourOf, instantText, toUs, unitsText, US_PER_HOUR } from '../domain/units.js';
import { CLOSING_RULES } from '../domain/window-turn.js';
import { noteClose, noteFacts } from '../infra/closing-order.sql.js';
import { loadParts } from '../infra/cost-split.sql.js';
import { readPurchaseBindings } from '../infra/purchase-bindings.sql.js';
import { SegmentsOfHour } from '../infra/segments-of-hour.js';
import { keyOf, SamplesOfHour, withSilentStreams } from '../infra/samples.sql.js';
import type { SeriesRow } from '../infra/series.sql.js';
import { writeClosings } from '../infra/write-closings.js';
import type { ClosedHour } from '../infra/write-records.js';
import { itemDeadlines } from '../infra/write-records.js';
import { blockSeries } from './block-series.js';
import type { ClosingDeps } from './deps.js';
import { raiseFindings, type NewFinding } from './findings.js';
import { PriceFindings } from './price-findings.js';
import { DEFAULT_IMPLAUSIBLE_TIMES, holdUnusual } from './usual-guard.js';

export const DEFAULT_LINE_RATE = 12_500_000_000n;

/** Closes one hour of the series of one shard, in the transaction that holds the shard's claim. Who is ready is told by others. */
export class ShardCloser {
  private readonly worker = `${process.pid}`;
  private readonly prices = new PriceFindings();
  constructor(private readonly deps: ClosingDeps) {}

  /**
   * Closes `hour` for these series of one shard; answers how many closed, stand still, or have to be corrected first. `rules`: those of
   * now, unless an hour is closed again.
   */
  async close(tx: Tx, shard: number, hour: bigint, ready: SeriesRow[], now: bigint, rules = CLOSING_RULES): Promise<number> {
    if (ready.length === 0) return 0;
    const ids = [...new Set(ready.map((s) => s.subscriptionId))];
    const segments = await SegmentsOfHour.load(tx, ids, hour);
    const again = await this.cutBehindUs(tx, ready, segments);
    if (again > 0) return again;
    const bindings = await readPurchaseBindings(tx, ids);
    await noteFacts(tx, ready, (id) => segments.read(id), bindings, this.deps.clock.now());
    const subscriptions = new Map((await readMeteredSubscriptions(tx, { subscriptionIds: ids })).map((s) => [s.subscriptionId, s]));
    const samples = await SamplesOfHour.gather(tx, ready, bindings, hour);
    const carryIns = await openCarryIns(tx, ids);
    const parts = await this.partsOf(tx, ready, segments, samples);
    const closed: ClosedHour[] = [];
    const findings: NewFinding[] = [];
    const keys = new Set<string>();
    let blocked = 0;
    for (const series of ready) {
      try {
        const one = this.closeOne(
          series,
          segments,
          withSilentStreams(series.source, series.opening, samples.of(series)),
          carryIns.get(keyOf(series.subscriptionId, series.meter)) ?? [],
          subscriptions.get(series.subscriptionId) ?? null,
          parts?.(series.metric) ?? null,
          rules,
        );
        for (const r of one.close.records) {
          const key = `${series.subscriptionId}/${r.segmentId}/${r.dimension}`;
          if (keys.has(key)) throw new Error(`two meters of one plan bill the dimension ${r.dimension}`);
          keys.add(key);
        }
        closed.push(one);
      } catch (error) {
        blocked += 1;
        await blockSeries(tx, this.deps, series, errorText(error), now);
      }
    }
    await holdUnusual(tx, closed, hour, this.deps.options?.implausibleTimes ?? DEFAULT_IMPLAUSIBLE_TIMES);
    for (const one of closed) findings.push(...findingsOf(one, segments, hour));
    if (closed.length > 0) {
      const at = this.deps.clock.now();
      const rootSequence = await writeClosings(tx, shard, hour, closed, at, this.worker);
      await noteClose(tx, { shard, hour, rootSequence, closed: closed.map((c) => c.series), rules }, at);
    }
    await raiseFindings(tx, this.deps.clock, findings);
    await this.prices.look(tx, this.deps.clock, closed, (id) => segments.offerOf(id), hour);
    this.deps.metrics?.counter('berth_hours_closed_total', 'Hours of series closed').inc(closed.length);
    return closed.length + blocked;
  }

  private closeOne(
    series: SeriesRow,
    segments: SegmentsOfHour,
    streams: StreamSamples[],
    carryIns: CarryIn[],
    subscription: MeteredSubscription | null,
    partsAt: PartsAt | null,
    rules: number,
  ): ClosedHour {
    if (!series.hasPredecessor) throw new Error('the closing of the hour before is missing');
    const hour = series.nextHour;
    const adapter = this.deps.marketplaces.all().find((a) => a.marketplace === series.marketplace);
    if (!adapter) throw new Error(`nothing is known of the marketplace ${series.marketplace}`);
    const seen = series.opening.capacityBytes;
    const capacity = segments.capacity(series.subscriptionId);
    const also = [...Object.keys(series.opening.segments), ...carryIns.map((c) => c.segmentId)];
    const ofHour = segments.of(series.subscriptionId, series.meter, hour, also);
    const meter: MeterHour = {
      meter: series.meter,
      kind: series.kind,
      source: series.source,
      hourStart: hour,
      endedAt: series.endedAt,
      watermark: series.watermark,
      traits: adapter.usage,
      capacityBytes: capacity === null ? null : seen !== null && seen > capacity ? seen : capacity,
      lineRateBytesPerSecond: this.deps.options?.lineRateBytesPerSecond ?? DEFAULT_LINE_RATE,
      rules,
    };
    const close = closeHour(meter, ofHour, series.opening, streams, carryIns);
    if (partsAt) {
      const limits = COST_SPLIT_LIMITS[adapter.marketplace];
      const splits = splitRecords(meter, ofHour, series.opening, streams, partsAt, close.records, limits);
      for (const [record, split] of splits) record.costSplit = split;
    }
    return {
      series,
      inputs: digestOf(streams, hour),
      close,
      adapter,
      subscription,
      completed: series.endedAt !== null && series.endedAt <= hour + US_PER_HOUR,
      usualTimes: ofHour.find((s) => s.terms?.implausibleTimes !== undefined)?.terms?.implausibleTimes ?? null,
      lastSegmentId: lastSegment(ofHour, hour + US_PER_HOUR) ?? series.lastSegmentId,
    };
  }

  /** What the samples said of their parts; null where no plan of these series asks. */
  private async partsOf(
    tx: Tx,
    ready: SeriesRow[],
    segments: SegmentsOfHour,
    samples: SamplesOfHour,
  ): Promise<Awaited<ReturnType<typeof loadParts>> | null> {
    if (!segments.splitsCosts()) return null;
    const split = ready.filter((s) => segments.of(s.subscriptionId, s.meter, s.nextHour).some((x) => x.terms?.costSplit));
    if (split.length === 0) return null;
    return loadParts(
      tx,
      split.map((s) => ({ metric: s.metric, opening: s.opening, streams: samples.of(s) })),
    );
  }

  /** A cut that was told to us after the hours it lies in were closed: those hours are corrected before the next one closes. */
  private async cutBehindUs(tx: Tx, ready: SeriesRow[], segments: SegmentsOfHour): Promise<number> {
    let found = 0;
    for (const s of ready) {
      const last = s.lastSegmentId === null ? null : segments.find(s.subscriptionId, s.lastSegmentId);
      if (!last?.endsAt || toUs(last.endsAt) >= s.nextHour) continue;
      const from = hourOf(toUs(last.endsAt));
      await tx.query(
        'insert into late_arrivals (subscription_id, metric, hour, tenant_id) values ($1, $2, $3::timestamptz, $4) on conflict do nothing',
        [s.subscriptionId, s.metric, instantText(from), s.tenantId],
      );
      found += 1;
    }
    return found;
  }
}

/** The segment that covers the last instant of an hour. */
export const lastSegment = (segments: HourSegment[], end: bigint): string | null =>
  segments.find((s) => s.startsAt < end && (s.endsAt === null || s.endsAt >= end))?.segmentId ?? null;

/** Of all meters of these purchases, by series. */
async function openCarryIns(tx: Tx, subscriptionIds: string[]): Promise<Map<string, CarryIn[]>> {
  const rows = await tx.query<{
    subscription_id: string;
    meter: string;
    carry_in_id: string;
    segment_id: string;
    kind: CarryIn['kind'];
    stage: CarryIn['stage'];
    from_us: string;
    amount: string;
  }>(
    `select c.subscription_id, c.meter, c.carry_in_id, c.segment_id, c.kind, c.stage, (extract(epoch from c.from_hour) * 1000000)::bigint::text as from_us, c.amount::text
       from carry_ins c where c.subscription_id = any($1::uuid[]) and c.consumed_by_hour is null order by c.from_hour, c.origin`,
    [arrayText(subscriptionIds)],
  );
  const out = new Map<string, CarryIn[]>();
  for (const r of rows) {
    const k = keyOf(r.subscription_id, r.meter);
    const known = out.get(k) ?? [];
    known.push({
      carryInId: r.carry_in_id,
      segmentId: r.segment_id,
      kind: r.kind,
      stage: r.stage,
      fromHour: BigInt(r.from_us),
      amount: BigInt(r.amount),
    });
    out.set(k, known);
  }
  return out;
}

function findingsOf({ series, close, adapter, subscription }: ClosedHour, all: SegmentsOfHour, hour: bigint): NewFinding[] {
  if (close.losses.length === 0 && close.findings.length === 0) return [];
  const lost = close.losses.map((l) => l.segmentId);
  const segments = all.of(series.subscriptionId, series.meter, hour, lost);
  const base = { tenantId: series.tenantId, subscriptionId: series.subscriptionId, hour: fromUs(hour) };
  const at = `${series.subscriptionId}:${series.meter}:${instantText(hour)}`;
  const described = (segmentId: string | null, amount: bigint): Pick<NewFinding, 'dimension' | 'units'> => {
    const terms = segments.find((s) => s.segmentId === segmentId)?.terms;
    return terms ? { dimension: terms.dimension, units: unitsText(amount, BigInt(terms.basePerUnit)) } : {};
  };
  return [
    ...close.losses.map((l): NewFinding => ({
      kind: `loss.${l.cause}`,
      dedupeKey: `loss:${l.cause}:${at}:${l.segmentId}:${l.ref}`,
      ...base,
      ...described(l.segmentId, l.amount),
      evidence: { meter: series.meter, segmentId: l.segmentId, baseQuantity: l.amount.toString(), carryIn: l.ref },
    })),
    ...close.findings.map((f: HourClose['findings'][number]): NewFinding => ({
      kind: f.kind,
      dedupeKey: `${f.kind}:${at}:${f.segmentId ?? ''}:${f.evidence['ref'] ?? ''}`,
      ...base,
      ...described(f.segmentId, f.amount),
      ...(f.kind === 'held_implausible' ? { deadline: itemDeadlines(adapter, series, subscription, hour).hard } : {}),
      evidence: { meter: series.meter, segmentId: f.segmentId, baseQuantity: f.amount.toString(), ...f.evidence },
    })),
  ];
}
