import { arrayText } from '#platform';
import type { Binding } from '../application/intake-types.js';
import type { SampleEvent } from '../domain/usage-event.js';
import { instantText } from '../domain/units.js';
import type { NumberRun } from '../domain/watermarks.js';
import { isLate, noteLateSql } from './late-arrivals.js';

/** A sample with its owner, as it is stored. Its key is (poster, source, id). */
export interface SampleRow {
  poster: string;
  event: SampleEvent;
  hash: string;
  tenantId: string;
  subscriptionId: string;
}

/**
 * Stores what is new of the rows and tells which of them it is (their positions); null: all. In the same statement, so that
 * nothing is asked of the database twice: hours that were closed before the samples came, and the numbers that are answered with
 * this commit, also those of refused events (their source knows, and waiting for one would never end). The series are asked once for
 * each subscription, by its earliest sample: almost always none is late. Where a binding by which the rows were placed is not
 * open any more ($18 to $22), nothing is written.
 */
const storeSql = (withSplit: boolean): string => `
  with moved as materialized (
    select exists (
      select 1 from unnest($18::uuid[], $19::uuid[], $20::uuid[], $21::text[], $22::timestamptz[]) as o(placement_id, tenant_id, subscription_id, source, valid_from)
       where not exists (select 1 from usage_bindings b where b.placement_id = o.placement_id and b.valid_until is null
          and b.valid_from = o.valid_from and b.tenant_id = o.tenant_id and b.subscription_id = o.subscription_id and b.source = o.source)) as one),
  given as materialized (
    select * from unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::uuid[], $7::uuid[], $8::uuid[], $9::text[], $10::text[],
      $11::numeric[], $12::text[], $13::numeric[], $14::text[]${withSplit ? ', $23::jsonb[]' : ''}) with ordinality
      as u(principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, content_hash${withSplit ? ', split' : ''}, n)
     where not (select one from moved)),
  place as materialized (select nextval('metering_order') as position),
  fresh as (
    insert into usage_dedupe (principal, source, event_id, tenant_id, content_hash, received_at)
    select principal, source, event_id, tenant_id, content_hash, $1::timestamptz from given order by n
    on conflict do nothing returning principal, source, event_id),
  stored as (
    insert into usage_events (principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, received_at, content_hash, position${withSplit ? ', split' : ''})
    select principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, $1::timestamptz, content_hash, (select position from place)${withSplit ? ', split' : ''}
      from given join fresh using (principal, source, event_id)
    returning subscription_id, metric, occurred_at),
  maybe_late as materialized (
    select subscription_id from (select subscription_id, min(occurred_at) as earliest from stored group by subscription_id) f
     where exists (select 1 from series s where s.subscription_id = f.subscription_id and ${isLate('f.earliest')})),
  late as (${noteLateSql('select subscription_id as sub, metric, occurred_at as at from stored where subscription_id in (select subscription_id from maybe_late)')}),
  numbered as (
    insert into usage_numbers (source, low, high)
    select u.source, u.low, u.high from unnest($15::text[], $16::numeric[], $17::numeric[]) as u(source, low, high)
     where not exists (select 1 from usage_sources s where s.source = u.source and s.last_sequence >= u.high) and not (select one from moved))
  select (select one from moved) as moved,
         case when (select count(*) from stored) = cardinality($4::text[]) then null
              else array(select n::int from given join fresh using (principal, source, event_id)) end as fresh`;
const STORE = storeSql(false);
/** Few sources split what they report; the others pay nothing for it. */
const STORE_SPLIT = storeSql(true);

interface Answer {
  moved: boolean;
  fresh: number[] | null;
}

/** By key: one order for all, so that two requests with the same ids wait for each other instead of deadlocking. */
export const inKeyOrder = (a: SampleRow, b: SampleRow): number =>
  inTextOrder(a.event.id, b.event.id) || inTextOrder(a.event.source, b.event.source) || inTextOrder(a.poster, b.poster);
const inTextOrder = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

/** Runs a statement in the transaction of its caller. */
export type RunStatement = <T>(sql: string, values: string[]) => Promise<T[]>;

/**
 * Stores the rows whose key is new, under the shards' shared fence, and notes the numbers. The rows must be in order and have no
 * key twice. `open`: bindings that must be open as they are here. Answers which of the rows are not new; null where one of the
 * bindings is not, and then nothing was written.
 */
export async function storeSamples<R extends SampleRow>(
  run: RunStatement,
  rows: readonly R[],
  { numbers, open, now }: { numbers: ReadonlyMap<string, readonly NumberRun[]>; open: readonly Binding[]; now: bigint },
): Promise<R[] | null> {
  const runs = [...numbers].flatMap(([source, all]) => all.map((run) => ({ source, ...run })));
  const split = rows.some((r) => r.event.split);
  const sql = split ? STORE_SPLIT : STORE;
  const parameters = [
    instantText(now),
    column(rows, (r) => r.poster),
    column(rows, (r) => r.event.source),
    column(rows, (r) => r.event.id),
    column(rows, (r) => instantText(r.event.at)),
    column(rows, (r) => r.tenantId),
    column(rows, (r) => r.subscriptionId),
    column(rows, (r) => r.event.placementId),
    column(rows, (r) => r.event.metric),
    column(rows, (r) => r.event.kind),
    column(rows, (r) => r.event.value),
    column(rows, (r) => r.event.epoch),
    column(rows, (r) => r.event.sequence),
    column(rows, (r) => r.hash),
    column(runs, (r) => r.source),
    column(runs, (r) => r.low),
    column(runs, (r) => r.high),
    column(open, (b) => b.placementId),
    column(open, (b) => b.tenantId),
    column(open, (b) => b.subscriptionId),
    column(open, (b) => b.source),
    column(open, (b) => instantText(b.from)),
    ...(split ? [column(rows, (r) => (r.event.split ? splitJson(r.event.split) : null))] : []),
  ];
  const [answer] = await run<Answer>(sql, parameters);
  if (answer!.moved) return null;
  if (answer!.fresh === null) return [];
  const fresh = new Set(answer!.fresh);
  return rows.filter((_, i) => !fresh.has(i + 1));
}

/** The content hashes under which these rows' keys were stored, by row; none where another tenant holds the key. */
export async function storedHashes<R extends SampleRow>(run: RunStatement, rows: readonly R[]): Promise<Map<R, string>> {
  const hashes = await run<{ n: number; content_hash: string }>(
    `select n::int, d.content_hash from unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) with ordinality as u(p, s, i, t, n)
       join usage_dedupe d on d.principal = u.p and d.source = u.s and d.event_id = u.i and d.tenant_id = u.t`,
    [column(rows, (r) => r.poster), column(rows, (r) => r.event.source), column(rows, (r) => r.event.id), column(rows, (r) => r.tenantId)],
  );
  return new Map(hashes.map((h) => [rows[h.n - 1]!, h.content_hash]));
}

/** A column of the rows, as an array of Postgres. */
const column = <T>(rows: readonly T[], of: (row: T) => string | bigint | null): string => arrayText(rows.map(of));

const splitJson = (parts: NonNullable<SampleEvent['split']>): string =>
  JSON.stringify(parts.map((p) => ({ labels: p.labels, value: p.value.toString() })));
