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
  /** Whose it is, by the binding that it belongs to. */
  binding: Binding;
}

/**
 * Stores what is new of the rows and tells which of them it is (their positions); null: all. In the same statement, so that
 * nothing is asked of the database twice: hours that were closed before the samples came, and the numbers that are answered with
 * this commit, also those of refused events (their source knows, and waiting for one would never end). Bindings come once each and
 * rows point at theirs ($5): the texts of the same few uuids need not be read for each row. Where one of them is not open any more
 * as it is remembered, nothing is written. The series are asked once for each binding, by its earliest sample: almost always none
 * is late. Both are asked by subqueries that are not joined, so that they go by their index also where the tables are small.
 */
const storeSql = (withSplit: boolean): string => `
  with owner as materialized (
    select o.subscription_id,
           o.valid_from is not null and (
             select b.valid_from = o.valid_from and b.tenant_id = o.tenant_id and b.subscription_id = o.subscription_id and b.source = o.source
               from usage_bindings b where b.placement_id = o.placement_id and b.valid_until is null) is not true as moved,
           (select true from series s where s.subscription_id = o.subscription_id and ${isLate('o.earliest')} limit 1) as late
      from unnest($16::uuid[], $17::uuid[], $18::uuid[], $19::text[], $20::timestamptz[], $21::timestamptz[])
        as o(placement_id, tenant_id, subscription_id, source, valid_from, earliest)),
  moved as materialized (select exists (select 1 from owner where owner.moved) as one),
  given as materialized (
    select u.*, ($16::uuid[])[u.k] as placement_id, ($17::uuid[])[u.k] as tenant_id, ($18::uuid[])[u.k] as subscription_id
      from unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::timestamptz[], $7::text[], $8::text[], $9::numeric[], $10::text[],
      $11::numeric[], $12::text[]${withSplit ? ', $22::jsonb[]' : ''}) with ordinality
      as u(principal, source, event_id, k, occurred_at, metric, kind, value, epoch, sequence, content_hash${withSplit ? ', split' : ''}, n)
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
  late as (${noteLateSql('select subscription_id as sub, metric, occurred_at as at from stored where subscription_id in (select subscription_id from owner where owner.late)')}),
  numbered as (
    insert into usage_numbers (source, low, high)
    select u.source, u.low, u.high from unnest($13::text[], $14::numeric[], $15::numeric[]) as u(source, low, high)
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
  { numbers, open, now }: { numbers: ReadonlyMap<string, readonly NumberRun[]>; open: ReadonlySet<Binding>; now: bigint },
): Promise<R[] | null> {
  const runs = [...numbers].flatMap(([source, all]) => all.map((run) => ({ source, ...run })));
  const split = rows.some((r) => r.event.split);
  const sql = split ? STORE_SPLIT : STORE;
  const owners = ownersOf(rows, open);
  const ofEach = [...owners];
  const parameters = [
    instantText(now),
    column(rows, (r) => r.poster),
    column(rows, (r) => r.event.source),
    column(rows, (r) => r.event.id),
    column(rows, (r) => owners.get(r.binding)!.place),
    column(rows, (r) => instantText(r.event.at)),
    column(rows, (r) => r.event.metric),
    column(rows, (r) => r.event.kind),
    column(rows, (r) => r.event.value),
    column(rows, (r) => r.event.epoch),
    column(rows, (r) => r.event.sequence),
    column(rows, (r) => r.hash),
    column(runs, (r) => r.source),
    column(runs, (r) => r.low),
    column(runs, (r) => r.high),
    column(ofEach, ([b]) => b.placementId),
    column(ofEach, ([b]) => b.tenantId),
    column(ofEach, ([b]) => b.subscriptionId),
    column(ofEach, ([b]) => b.source),
    column(ofEach, ([b]) => (open.has(b) ? instantText(b.from) : null)),
    column(ofEach, ([, { earliest }]) => (earliest === null ? null : instantText(earliest))),
    ...(split ? [column(rows, (r) => (r.event.split ? splitJson(r.event.split) : null))] : []),
  ];
  const [answer] = await run<Answer>(sql, parameters);
  if (answer!.moved) return null;
  if (answer!.fresh === null) return [];
  const fresh = new Set(answer!.fresh);
  return rows.filter((_, i) => !fresh.has(i + 1));
}

/** The bindings of the rows and the open ones, each with its place (from 1) and the earliest of its samples. */
function ownersOf(rows: readonly SampleRow[], open: Iterable<Binding>): Map<Binding, { place: number; earliest: bigint | null }> {
  const owners = new Map<Binding, { place: number; earliest: bigint | null }>();
  for (const { binding, event } of rows) {
    const owner = owners.get(binding);
    if (!owner) owners.set(binding, { place: owners.size + 1, earliest: event.at });
    else if (event.at < owner.earliest!) owner.earliest = event.at;
  }
  for (const binding of open) if (!owners.has(binding)) owners.set(binding, { place: owners.size + 1, earliest: null });
  return owners;
}

/** The content hashes under which these rows' keys were stored, by row; none where another tenant holds the key. */
export async function storedHashes<R extends SampleRow>(run: RunStatement, rows: readonly R[]): Promise<Map<R, string>> {
  const hashes = await run<{ n: number; content_hash: string }>(
    `select n::int, d.content_hash from unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) with ordinality as u(p, s, i, t, n)
       join usage_dedupe d on d.principal = u.p and d.source = u.s and d.event_id = u.i and d.tenant_id = u.t`,
    [
      column(rows, (r) => r.poster),
      column(rows, (r) => r.event.source),
      column(rows, (r) => r.event.id),
      column(rows, (r) => r.binding.tenantId),
    ],
  );
  return new Map(hashes.map((h) => [rows[h.n - 1]!, h.content_hash]));
}

/** A column of the rows, as an array of Postgres. */
const column = <T>(rows: readonly T[], of: (row: T) => string | number | bigint | null): string => arrayText(rows.map(of));

const splitJson = (parts: NonNullable<SampleEvent['split']>): string =>
  JSON.stringify(parts.map((p) => ({ labels: p.labels, value: p.value.toString() })));
