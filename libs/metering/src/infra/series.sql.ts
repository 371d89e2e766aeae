import type { Tx } from '#platform';
import type { MeterTerms } from '#entitlements';
import { openingFromJson } from '../domain/opening-json.js';
import type { Opening, StreamSamples } from '../domain/types.js';
import { ENGINE_SOURCE } from '../domain/usage-event.js';
import { CARRY_LIMIT } from '../domain/measure-hour.js';
import { instantText, maxOf, US_PER_HOUR } from '../domain/units.js';

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
  has_predecessor: boolean;
  watermark_us?: string | null;
}

const us = (column: string): string => `(extract(epoch from ${column}) * 1000000)::bigint::text`;
const COLUMNS = `s.subscription_id, s.meter, s.tenant_id, s.marketplace, s.metric, s.kind, s.source_kind, s.shard, ${us('s.first_hour')} as first_us, ${us('s.next_hour')} as next_us,
  ${us('s.ended_at')} as ended_us, s.completed_at is not null as completed, s.last_segment_id, s.state,
  (s.next_hour = s.first_hour or exists (select 1 from hour_closings c where c.subscription_id = s.subscription_id and c.meter = s.meter and c.hour = s.next_hour - interval '1 hour')) as has_predecessor`;

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
  hasPredecessor: r.has_predecessor,
  watermark: r.watermark_us == null ? null : BigInt(r.watermark_us),
});

/** How long an hour may wait for late sources, by marketplace. */
export interface HoldLimit {
  marketplace: string;
  hold_minutes: number;
  final_minutes: number;
}

/**
 * Series whose next hour may be closed now. It ends at the hour's end or at the subscription's; each bound source must have
 * passed that instant (or the end of its own binding), or the hold limit is reached. Our own events are known at once.
 */
const READY = `
  from series s
  join jsonb_to_recordset($2::jsonb) as l(marketplace text, hold_minutes int, final_minutes int) on l.marketplace = s.marketplace
  cross join lateral (select least(s.next_hour + interval '1 hour', coalesce(s.ended_at, 'infinity')) as at,
      case when s.ended_at <= s.next_hour + interval '1 hour' then s.ended_at + make_interval(mins => l.final_minutes)
           else s.next_hour + interval '1 hour' + make_interval(mins => l.hold_minutes) end as hold_until) need
  left join lateral (
    select min(coalesce(u.watermark, timestamptz 'epoch')) as at
      from usage_bindings b left join usage_sources u on u.source = b.source
     where s.source_kind = 'cell' and b.subscription_id = s.subscription_id and b.source <> '${ENGINE_SOURCE}'
       and b.valid_from < need.at and coalesce(b.valid_until, 'infinity') > s.next_hour
       and coalesce(u.watermark, timestamptz 'epoch') < least(need.at, coalesce(b.valid_until, 'infinity'))) behind on true
 where s.completed_at is null and (s.ended_at is null or s.ended_at > s.next_hour) and (s.next_hour <= $1::timestamptz - interval '1 hour' or s.ended_at <= $1::timestamptz)
   and (s.blocked_until is null or s.blocked_until <= $1::timestamptz) and (behind.at is null or need.hold_until <= $1::timestamptz)`;

/** Hours and shards with something to close, oldest hour first; and shards with late arrivals to absorb. */
export async function dueShards(tx: Tx, now: bigint, limits: HoldLimit[]): Promise<{ shard: number; hour: bigint | null }[]> {
  const rows = await tx.query<{ shard: number; hour_us: string | null }>(
    `select distinct s.shard, null::text as hour_us, null::timestamptz as next_hour from late_arrivals a join series s using (subscription_id, metric)
       where s.blocked_until is null or s.blocked_until <= $1::timestamptz
     union all select s.shard, ${us('s.next_hour')}, s.next_hour ${READY} group by s.shard, s.next_hour
     order by next_hour nulls first, shard`,
    [instantText(now), JSON.stringify(limits)],
  );
  return rows.map((r) => ({ shard: r.shard, hour: r.hour_us === null ? null : BigInt(r.hour_us) }));
}

/** Of a shard's hour some `atOnce`, and the rest of the last purchase: a transaction stays short and its memory bounded. */
export async function readySeries(
  tx: Tx,
  now: bigint,
  limits: HoldLimit[],
  shard: number,
  hour: bigint,
  atOnce: number,
): Promise<SeriesRow[]> {
  const rows = await tx.query<Raw>(
    `select ${COLUMNS}, ${us('behind.at')} as watermark_us ${READY} and s.shard = $3 and s.next_hour = $4::timestamptz order by s.subscription_id fetch first ($5::int) rows with ties for update of s`,
    [instantText(now), JSON.stringify(limits), shard, instantText(hour), atOnce],
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

const seriesKey = (subscriptionId: string, meter: string): string => `${subscriptionId}/${meter}`;

interface SampleRow {
  ats: string[] | null;
  vals: string[] | null;
  epochs: string[] | null;
  sequences: string[] | null;
}
const ARRAYS = `array_agg(${us('e.occurred_at')} order by e.occurred_at, e.sequence, e.event_id) as ats, array_agg(e.value::text order by e.occurred_at, e.sequence, e.event_id) as vals,
            array_agg(e.epoch order by e.occurred_at, e.sequence, e.event_id) as epochs, array_agg(e.sequence::text order by e.occurred_at, e.sequence, e.event_id) as sequences`;
const CARRY_TEXT = `interval '${CARRY_LIMIT / 1_000_000n} seconds'`;

/**
 * The samples of one hour for many series: one row per series and placement, samples as arrays of microseconds and decimal
 * text. The sample on the hour's end comes along: it belongs to this hour if a cut lies there.
 */
export async function gatherSamples(
  tx: Tx,
  series: (Pick<SeriesRow, 'subscriptionId' | 'meter' | 'metric' | 'source' | 'endedAt'> & Partial<Pick<SeriesRow, 'opening'>>)[],
  hour: bigint,
  /** What was known then: later samples are left out. For looking back; a closing takes what is there. */
  receivedBy: Date | null = null,
): Promise<Map<string, StreamSamples[]>> {
  const hourEnd = hour + US_PER_HOUR;
  // The last sample of an ended subscription comes a little after its end: it closes the final delta.
  const upTo = (s: { endedAt: bigint | null }): bigint =>
    s.endedAt !== null && s.endedAt <= hourEnd ? maxOf(hourEnd, s.endedAt + CARRY_LIMIT) : hourEnd;
  const keys = [series.map((s) => s.subscriptionId), series.map((s) => s.meter), series.map((s) => s.metric), series.map((s) => s.source)];
  const span = [instantText(hour), instantText(hour + US_PER_HOUR)];
  const upTos = series.map((s) => instantText(upTo(s)));
  // A stream that an opening knows goes on from there: what was before its binding is not looked for.
  const known = series.map((s) => Object.keys(s.opening?.streams ?? {}).join(' '));
  const samples = await tx.query<SampleRow & { subscription_id: string; meter: string; placement_id: string }>(
    `select k.sub as subscription_id, k.meter, e.placement_id, ${ARRAYS}
       from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $6::timestamptz[]) as k(sub, meter, metric, source, up_to)
       join usage_events e on e.subscription_id = k.sub and e.metric = k.metric and e.source = '${ENGINE_SOURCE}'
        and e.occurred_at >= $5::timestamptz and e.occurred_at <= k.up_to and ($7::timestamptz is null or e.received_at <= $7)
      where k.source = 'engine' group by k.sub, k.meter, e.placement_id order by e.placement_id`,
    [...keys, span[0], upTos, receivedBy],
  );
  // What a cell reported is of the purchase that its placement was bound to at that time, whoever it was stored for: a renewal
  // that is told late takes the samples since its start with it.
  const bindings = await tx.query<
    SampleRow & {
      subscription_id: string;
      meter: string;
      placement_id: string;
      from_us: string;
      until_us: string | null;
      base_at: string | null;
      base_value: string;
      base_epoch: string;
      base_sequence: string;
    }
  >(
    `select k.sub as subscription_id, k.meter, b.placement_id, ${us('b.valid_from')} as from_us, ${us('coalesce(b.valid_until, b.held_from)')} as until_us,
            ${us('p.occurred_at')} as base_at, p.value::text as base_value, p.epoch as base_epoch, p.sequence::text as base_sequence, e.*
       from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $7::timestamptz[], $9::text[]) as k(sub, meter, metric, source, up_to, known)
       join usage_bindings b on b.subscription_id = k.sub and b.valid_from < $6::timestamptz and coalesce(b.valid_until, 'infinity') >= $5::timestamptz
       left join lateral (select * from usage_events e where e.placement_id = b.placement_id and e.metric = k.metric and e.occurred_at <= b.valid_from and ($8::timestamptz is null or e.received_at <= $8)
                           and e.occurred_at > b.valid_from - case e.kind when 'counter' then interval '35 days' else ${CARRY_TEXT} end
                           and b.placement_id || '@' || ${us('b.valid_from')} <> all (string_to_array(k.known, ' '))
                         order by e.occurred_at desc, e.sequence desc limit 1) p on true
       left join lateral (select ${ARRAYS} from usage_events e where e.placement_id = b.placement_id and e.metric = k.metric and e.source = b.source
                           and e.occurred_at >= greatest($5::timestamptz, b.valid_from) and e.occurred_at <= least(k.up_to, coalesce(b.valid_until, 'infinity'))
                           and ($8::timestamptz is null or e.received_at <= $8)) e on true
      where k.source = 'cell' order by b.placement_id, b.valid_from`,
    [...keys, ...span, upTos, receivedBy, known],
  );
  const out = new Map<string, StreamSamples[]>();
  const push = (k: string, s: StreamSamples): void => void out.set(k, [...(out.get(k) ?? []), s]);
  const unpack = (r: SampleRow): StreamSamples['samples'] =>
    (r.ats ?? []).map((at, i) => ({
      at: BigInt(at),
      value: BigInt(r.vals![i]!),
      epoch: r.epochs![i]!,
      sequence: BigInt(r.sequences![i]!),
    }));
  for (const b of bindings) {
    const k = seriesKey(b.subscription_id, b.meter);
    push(k, {
      stream: `${b.placement_id}@${b.from_us}`,
      from: BigInt(b.from_us),
      until: b.until_us === null ? null : BigInt(b.until_us),
      baseline:
        b.base_at === null
          ? null
          : { at: BigInt(b.base_at), value: BigInt(b.base_value), epoch: b.base_epoch, sequence: BigInt(b.base_sequence) },
      samples: unpack(b),
    });
  }
  for (const r of samples)
    push(seriesKey(r.subscription_id, r.meter), {
      stream: r.placement_id,
      from: BigInt(r.ats![0]!),
      until: null,
      baseline: null,
      samples: unpack(r),
    });
  return out;
}

/** An engine stream that was silent in this hour goes on from the opening. */
export function withSilentStreams(source: SeriesRow['source'], opening: Opening, streams: StreamSamples[]): StreamSamples[] {
  if (source !== 'engine') return streams;
  const known = new Map(streams.map((s) => [s.stream, s]));
  const all = new Set([...known.keys(), ...Object.keys(opening.streams)]);
  return [...all].sort().map((stream) => {
    const before = opening.streams[stream];
    const now = known.get(stream);
    return { stream, from: before?.at ?? now!.from, until: null, baseline: null, samples: now?.samples ?? [] };
  });
}

export const keyOf = seriesKey;
