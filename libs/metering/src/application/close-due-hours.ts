import { errorText, type Tx } from '#platform';
import { readMeteredSubscriptions, type MeteredSubscription } from '#entitlements';
import type { MarketplaceAdapter } from '#marketplaces/core';
import { closeHour } from '../domain/close-hour.js';
import type { CarryIn, HourClose, HourSegment } from '../domain/types.js';
import { fromUs, hourOf, instantText, toUs, unitsText, US_PER_HOUR } from '../domain/units.js';
import { claimShard } from '../infra/locks.js';
import { SegmentsOfHour } from '../infra/segments-of-hour.js';
import { dueShards, gatherSamples, keyOf, readySeries, withSilentStreams, type HoldLimit, type SeriesRow } from '../infra/series.sql.js';
import type { UsageDays } from '../infra/usage-days.js';
import { writeClosings, type ClosedHour } from '../infra/write-closings.js';
import { absorbLate } from './absorb-late.js';
import type { MeteringDeps } from './deps.js';
import { raiseFindings, type NewFinding } from './findings.js';
import { settleClosing } from './settle.js';
import { syncSeries } from './sync-series.js';
import { countWaiting } from './watermarks.js';

export const DEFAULT_LINE_RATE = 12_500_000_000n;
const BLOCKED_FOR_MS = 10 * 60_000;
/** One tick closes at most so many (hour, shard) claims; what is left is due at the next. */
const CLAIMS_PER_TICK = 2_000;

/** The clock that closes hours: for each (hour, shard) that is due one transaction, oldest hour first (architecture §7 "Closing"). */
export class CloseDueHours {
  private readonly worker = `${process.pid}`;
  constructor(
    private readonly deps: MeteringDeps,
    private readonly days: UsageDays,
  ) {}

  async run(): Promise<number> {
    const { db, clock } = this.deps;
    const now = toUs(clock.now());
    await this.days.ensure([now - US_PER_HOUR, now, now + 24n * US_PER_HOUR, now + 48n * US_PER_HOUR]);
    let done = await db.ops((tx) => syncSeries(tx, this.deps));
    done += await db.ops((tx) => countWaiting(tx, now));
    const busy = new Set<number>();
    const absorbed = new Set<number>();
    for (let claims = 0; claims < CLAIMS_PER_TICK;) {
      const due = (await db.ops((tx) => dueShards(tx, now, this.limits()))).filter(
        (d) => !busy.has(d.shard) && !(d.hour === null && absorbed.has(d.shard)),
      );
      if (due.length === 0) break;
      // All shards of the oldest hour, then ask again: closing one hour makes the next one due.
      const oldest = due[0]!.hour;
      let progress = 0;
      for (const d of due.filter((x) => x.hour === oldest)) {
        claims += 1;
        const n = await this.claim(d.shard, d.hour, now);
        if (n === 0) busy.add(d.shard);
        if (d.hour === null) absorbed.add(d.shard);
        progress += n;
      }
      done += progress;
    }
    done += await settleClosing(this.deps);
    return done;
  }

  private limits(): HoldLimit[] {
    return this.deps.marketplaces
      .all()
      .map((a) => ({ marketplace: a.marketplace, hold_minutes: a.usage.holdLimitMinutes, final_minutes: a.usage.finalHoldMinutes }));
  }

  private claim(shard: number, hour: bigint | null, now: bigint): Promise<number> {
    return this.deps.db.ops(async (tx) => {
      if (!(await claimShard(tx, shard))) return 0;
      const late = await absorbLate(tx, this.deps, shard, now);
      if (hour === null) return late;
      return late + (await this.closeShard(tx, shard, hour, now));
    });
  }

  private async closeShard(tx: Tx, shard: number, hour: bigint, now: bigint): Promise<number> {
    const ready = await readySeries(tx, now, this.limits(), shard, hour);
    if (ready.length === 0) return 0;
    const ids = [...new Set(ready.map((s) => s.subscriptionId))];
    const segments = await SegmentsOfHour.load(tx, ids, hour);
    const again = await this.cutBehindUs(tx, ready, segments);
    if (again > 0) return again;
    const subscriptions = new Map((await readMeteredSubscriptions(tx, { subscriptionIds: ids })).map((s) => [s.subscriptionId, s]));
    const samples = await gatherSamples(tx, ready, hour);
    const carryIns = await openCarryIns(tx, ready);
    const closed: ClosedHour[] = [];
    const findings: NewFinding[] = [];
    const keys = new Set<string>();
    let blocked = 0;
    for (const series of ready) {
      try {
        const one = this.closeOne(
          series,
          segments,
          withSilentStreams(series.source, series.opening, samples.get(keyOf(series.subscriptionId, series.meter)) ?? []),
          carryIns.get(keyOf(series.subscriptionId, series.meter)) ?? [],
          subscriptions.get(series.subscriptionId) ?? null,
        );
        for (const r of one.close.records) {
          const key = `${series.subscriptionId}/${r.segmentId}/${r.dimension}`;
          if (keys.has(key)) throw new Error(`two meters of one plan bill the dimension ${r.dimension}`);
          keys.add(key);
        }
        closed.push(one);
        findings.push(
          ...findingsOf(
            one,
            segments.of(
              series.subscriptionId,
              series.meter,
              hour,
              one.close.losses.map((l) => l.segmentId),
            ),
            hour,
          ),
        );
      } catch (error) {
        blocked += 1;
        await this.block(tx, series, errorText(error), now);
      }
    }
    if (closed.length > 0) await writeClosings(tx, shard, hour, closed, this.deps.clock.now(), this.worker);
    await raiseFindings(tx, this.deps.clock, findings);
    this.deps.metrics?.counter('berth_hours_closed_total', 'Hours of series closed').inc(closed.length);
    return closed.length + blocked;
  }

  private closeOne(
    series: SeriesRow,
    segments: SegmentsOfHour,
    streams: ClosedHour['streams'],
    carryIns: CarryIn[],
    subscription: MeteredSubscription | null,
  ): ClosedHour {
    if (!series.hasPredecessor) throw new Error('the closing of the hour before is missing');
    const hour = series.nextHour;
    const adapter: MarketplaceAdapter = this.deps.marketplaces.all().find((a) => a.marketplace === series.marketplace)!;
    const seen = series.opening.capacityBytes;
    const capacity = segments.capacity(series.subscriptionId);
    const also = [...Object.keys(series.opening.segments), ...carryIns.map((c) => c.segmentId)];
    const ofHour = segments.of(series.subscriptionId, series.meter, hour, also);
    const close = closeHour(
      {
        meter: series.meter,
        kind: series.kind,
        source: series.source,
        hourStart: hour,
        endedAt: series.endedAt,
        watermark: series.watermark,
        traits: adapter.usage,
        capacityBytes: capacity === null ? null : seen !== null && seen > capacity ? seen : capacity,
        lineRateBytesPerSecond: this.deps.options?.lineRateBytesPerSecond ?? DEFAULT_LINE_RATE,
      },
      ofHour,
      series.opening,
      streams,
      carryIns,
    );
    return {
      series,
      streams,
      close,
      adapter,
      subscription,
      completed: series.endedAt !== null && series.endedAt <= hour + US_PER_HOUR,
      lastSegmentId: lastSegment(ofHour, hour + US_PER_HOUR) ?? series.lastSegmentId,
    };
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

  /** A series that cannot close stands still and says so; the others go on. */
  private async block(tx: Tx, series: SeriesRow, reason: string, now: bigint): Promise<void> {
    this.deps.logger.error(
      { subscription: series.subscriptionId, meter: series.meter, hour: instantText(series.nextHour), err: reason },
      'a series cannot close its hour',
    );
    await tx.query('update series set blocked_until = $3, blocked_reason = $4 where subscription_id = $1 and meter = $2', [
      series.subscriptionId,
      series.meter,
      new Date(fromUs(now).getTime() + BLOCKED_FOR_MS),
      reason,
    ]);
    await raiseFindings(tx, this.deps.clock, [
      {
        kind: 'lane_parked',
        dedupeKey: `series_blocked:${series.subscriptionId}:${series.meter}:${instantText(series.nextHour)}`,
        tenantId: series.tenantId,
        subscriptionId: series.subscriptionId,
        hour: fromUs(series.nextHour),
        evidence: { meter: series.meter, reason },
      },
    ]);
  }
}

/** The segment that covers the last instant of an hour. */
export const lastSegment = (segments: HourSegment[], end: bigint): string | null =>
  segments.find((s) => s.startsAt < end && (s.endsAt === null || s.endsAt >= end))?.segmentId ?? null;

async function openCarryIns(tx: Tx, series: SeriesRow[]): Promise<Map<string, CarryIn[]>> {
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
       from carry_ins c join unnest($1::uuid[], $2::text[]) as k(sub, meter) on c.subscription_id = k.sub and c.meter = k.meter
      where c.consumed_by_hour is null order by c.from_hour, c.origin`,
    [series.map((s) => s.subscriptionId), series.map((s) => s.meter)],
  );
  const out = new Map<string, CarryIn[]>();
  for (const r of rows) {
    const k = keyOf(r.subscription_id, r.meter);
    out.set(k, [
      ...(out.get(k) ?? []),
      {
        carryInId: r.carry_in_id,
        segmentId: r.segment_id,
        kind: r.kind,
        stage: r.stage,
        fromHour: BigInt(r.from_us),
        amount: BigInt(r.amount),
      },
    ]);
  }
  return out;
}

function findingsOf({ series, close }: ClosedHour, segments: HourSegment[], hour: bigint): NewFinding[] {
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
      evidence: { meter: series.meter, segmentId: f.segmentId, baseQuantity: f.amount.toString(), ...f.evidence },
    })),
  ];
}
