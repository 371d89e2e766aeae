import type { Tx } from '#platform';
import type { MeterTerms } from '#entitlements';
import { openingFromJson } from '../domain/opening-json.js';
import type { Opening } from '../domain/types.js';
import { ENGINE_SOURCE } from '../domain/usage-event.js';
import { instantText } from '../domain/units.js';
import { us } from './us.js';

export interface SeriesRow {
  subscriptionId: string;
  meter: string;
  tenantId: string;
  marketplace: string;
  metric: string;
  kind: MeterTerms['kind'];
  source: MeterTerms['source'];
  shard: number;
  firstHour: bigint;
  nextHour: bigint;
  endedAt: bigint | null;
  completed: boolean;
  lastSegmentId: string | null;
  opening: Opening;
  /** What it usually uses, as it is stored (`usualFromJson`). */
  usual: unknown;
  /** The predecessor of the next hour is there. */
  hasPredecessor: boolean;
  /** Of a ready series: where the slowest source stands, if it is behind (the hold limit is reached). */
  watermark: bigint | null;
}

interface Raw {
  subscription_id: string;
  meter: string;
  tenant_id: string;
  marketplace: string;
  metric: string;
  kind: MeterTerms['kind'];
  source_kind: MeterTerms['source'];
  shard: number;
  first_us: string;
  next_us: string;
  ended_us: string | null;
  completed: boolean;
  last_segment_id: string | null;
  state: unknown;
  usual: unknown;
  has_predecessor: boolean;
  watermark_us?: string | null;
}

/** Of a column of whole hours: exact as a double, and cheaper. */
const hourUs = (column: string): string => `(date_part('epoch', ${column})::bigint * 1000000)::text`;
const PLAIN = `s.subscription_id, s.meter, s.tenant_id, s.marketplace, s.metric, s.kind, s.source_kind, s.shard, ${hourUs('s.first_hour')} as first_us, ${hourUs('s.next_hour')} as next_us,
  ${us('s.ended_at')} as ended_us, s.completed_at is not null as completed, s.last_segment_id, s.state, s.usual`;
/** The hour before the series' next one is closed, or there is none. */
const PREDECESSOR = `s.next_hour = s.first_hour or exists (select 1 from hour_closings c where c.subscription_id = s.subscription_id and c.meter = s.meter and c.hour = s.next_hour - interval '1 hour')`;
const COLUMNS = `${PLAIN}, (${PREDECESSOR}) as has_predecessor`;

const toRow = (r: Raw): SeriesRow => ({
  subscriptionId: r.subscription_id,
  meter: r.meter,
  tenantId: r.tenant_id,
  marketplace: r.marketplace,
  metric: r.metric,
  kind: r.kind,
  source: r.source_kind,
  shard: r.shard,
  firstHour: BigInt(r.first_us),
  nextHour: BigInt(r.next_us),
  endedAt: r.ended_us === null ? null : BigInt(r.ended_us),
  completed: r.completed,
  lastSegmentId: r.last_segment_id,
  opening: openingFromJson(r.state),
  usual: r.usual,
  hasPredecessor: r.has_predecessor,
  watermark: r.watermark_us == null ? null : BigInt(r.watermark_us),
});

/** How long an hour may wait for late sources, by marketplace. */
export interface HoldLimit {
  marketplace: string;
  hold_minutes: number;
  final_minutes: number;
}

/** Series whose next hour is over, by the clock or by their own end, and that do not stand still. */
const PASSED = `s.completed_at is null and (s.ended_at is null or s.ended_at > s.next_hour) and (s.next_hour <= $1::timestamptz - interval '1 hour' or s.ended_at <= $1::timestamptz)
   and (s.blocked_until is null or s.blocked_until <= $1::timestamptz)`;

/**
 * Series whose next hour may be closed now. It ends at the hour's end or at the subscription's; each bound source must have
 * passed that instant (or the end of its own binding), or the hold limit is reached. Our own events are known at once. `before` are
 * the series whose hour before this one the shard's roots hold: of many they are found together, the others one by one. They are looked up
 * in a hash and not joined: of a table that grew since it was counted last the planner expects a handful of rows, and would go through all of
 * them for each series. So are `on_time`, the sources that have told all of this hour: they hold back nobody, and mostly are all there are.
 */
const READY = `
  from series s
  join jsonb_to_recordset($2::jsonb) as l(marketplace text, hold_minutes int, final_minutes int) on l.marketplace = s.marketplace
  cross join lateral (select least(s.next_hour + interval '1 hour', coalesce(s.ended_at, 'infinity')) as at,
      case when s.ended_at <= s.next_hour + interval '1 hour' then s.ended_at + make_interval(mins => l.final_minutes)
           else s.next_hour + interval '1 hour' + make_interval(mins => l.hold_minutes) end as hold_until) need
  left join lateral (
    select min(coalesce(u.watermark, timestamptz 'epoch')) as at
      from usage_bindings b cross join lateral (select (select watermark from usage_sources where source = b.source) as watermark) u
     where s.source_kind = 'cell' and b.subscription_id = s.subscription_id and b.source <> '${ENGINE_SOURCE}' and b.source not in (select source from on_time)
       and b.valid_from < need.at and coalesce(b.valid_until, 'infinity') > s.next_hour
       and coalesce(u.watermark, timestamptz 'epoch') < least(need.at, coalesce(b.valid_until, 'infinity'))) behind on true
 where ${PASSED} and (behind.at is null or need.hold_until <= $1::timestamptz)`;

/** An hour of a shard; null are late arrivals to absorb. */
export interface ShardHour {
  shard: number;
  hour: bigint | null;
}

/**
 * Shards with late arrivals, and hours of shards that have passed for some series, oldest first. Whether a source holds them back is
 * asked where they are closed (`readySeries`): here it would be asked of all series of the house.
 */
export async function dueShards(tx: Tx, now: bigint): Promise<ShardHour[]> {
  const rows = await tx.query<{ shard: number; hour_us: string | null }>(
    `select distinct s.shard, null::text as hour_us, null::timestamptz as next_hour from late_arrivals a join series s using (subscription_id, metric)
       where s.blocked_until is null or s.blocked_until <= $1::timestamptz
     union all select s.shard, ${us('s.next_hour')}, s.next_hour from series s where ${PASSED} group by s.shard, s.next_hour
     order by next_hour nulls first, shard`,
    [instantText(now)],
  );
  return rows.map((r) => ({ shard: r.shard, hour: r.hour_us === null ? null : BigInt(r.hour_us) }));
}

/** Series of a shard whose hour has passed, ready or not; by purchase. Their openings are not read: one of them may be what is broken. */
export async function dueSeries(
  tx: Tx,
  now: bigint,
  shard: number,
  hour: bigint,
): Promise<Pick<SeriesRow, 'subscriptionId' | 'meter' | 'tenantId' | 'nextHour'>[]> {
  const rows = await tx.query<{ subscription_id: string; meter: string; tenant_id: string }>(
    `select s.subscription_id, s.meter, s.tenant_id from series s where ${PASSED} and s.shard = $2 and s.next_hour = $3::timestamptz order by s.subscription_id, s.meter`,
    [instantText(now), shard, instantText(hour)],
  );
  return rows.map((r) => ({ subscriptionId: r.subscription_id, meter: r.meter, tenantId: r.tenant_id, nextHour: hour }));
}

/**
 * Of a shard's hour some `atOnce`, and the rest of the last purchase: a transaction stays short and its memory bounded. `only`: of these
 * purchases; null: of all.
 */
export async function readySeries(
  tx: Tx,
  now: bigint,
  limits: HoldLimit[],
  shard: number,
  hour: bigint,
  atOnce: number,
  only: readonly string[] | null,
): Promise<SeriesRow[]> {
  const rows = await tx.query<Raw>(
    `with before as materialized (
       select c.subscription_id, c.meter from hour_roots r join hour_closings c on c.shard = r.shard and c.root_sequence = r.sequence
        where r.shard = $3 and r.hour = $4::timestamptz - interval '1 hour'),
     on_time as materialized (select source from usage_sources where watermark >= $4::timestamptz + interval '1 hour')
     select ${PLAIN}, ${us('behind.at')} as watermark_us, (s.subscription_id, s.meter) in (select subscription_id, meter from before) or ${PREDECESSOR} as has_predecessor
     ${READY} and s.shard = $3 and s.next_hour = $4::timestamptz and ($6::uuid[] is null or s.subscription_id = any($6::uuid[])) order by s.subscription_id fetch first ($5::int) rows with ties for update of s`,
    [instantText(now), JSON.stringify(limits), shard, instantText(hour), atOnce, only],
  );
  const meters = (a: Raw, b: Raw): number => (a.meter < b.meter ? -1 : 1);
  return rows
    .sort((a, b) => (a.subscription_id === b.subscription_id ? meters(a, b) : a.subscription_id < b.subscription_id ? -1 : 1))
    .map(toRow);
}

/** Series of a shard whose next hour is this one or an earlier one, due or not: a replay is told what was closed. */
export async function seriesAt(tx: Tx, shard: number, hour: bigint, subscriptionIds: readonly string[]): Promise<SeriesRow[]> {
  const rows = await tx.query<Raw>(
    `select ${COLUMNS} from series s where s.shard = $1 and s.next_hour <= $2::timestamptz and s.subscription_id = any($3::uuid[]) and s.completed_at is null
        and (s.ended_at is null or s.ended_at > s.next_hour) order by s.subscription_id, s.meter for update of s`,
    [shard, instantText(hour), subscriptionIds],
  );
  return rows.map(toRow);
}

export async function lateSeries(tx: Tx, now: bigint, shard: number): Promise<{ series: SeriesRow; from: bigint }[]> {
  const rows = await tx.query<Raw & { from_us: string }>(
    `select ${COLUMNS}, ${us('a.hour')} as from_us
       from (select subscription_id, metric, min(hour) as hour from late_arrivals group by subscription_id, metric) a
       join series s using (subscription_id, metric)
      where s.shard = $1 and (s.blocked_until is null or s.blocked_until <= $2::timestamptz) order by s.subscription_id, s.meter for update of s`,
    [shard, instantText(now)],
  );
  return rows.map((r) => ({ series: toRow(r), from: BigInt(r.from_us) }));
}

export async function findSeries(tx: Tx, subscriptionId: string, meter: string): Promise<SeriesRow | null> {
  const [row] = await tx.query<Raw>(`select ${COLUMNS} from series s where s.subscription_id = $1 and s.meter = $2`, [
    subscriptionId,
    meter,
  ]);
  return row ? toRow(row) : null;
}
