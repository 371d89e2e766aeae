import type { Tx } from '#platform';
import { CARRY_LIMIT } from '../domain/measure-hour.js';
import type { SampleEvent } from '../domain/usage-event.js';
import { instantText } from '../domain/units.js';
import { markLate } from './late-arrivals.js';

/** A sample with its owner, as it is stored. Its key is (poster, source, id). */
export interface SampleRow {
  key: string;
  poster: string;
  event: SampleEvent;
  tenantId: string;
  subscriptionId: string;
  hash: string;
}

/**
 * Stores what is new of the rows and tells which of them it is (their positions); null: all. `late`: one of them lies in an
 * hour that its series has closed.
 */
const storeSql = (withSplit: boolean): string => `
  with given as materialized (
    select * from unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::uuid[], $7::uuid[], $8::uuid[], $9::text[], $10::text[],
      $11::numeric[], $12::text[], $13::numeric[], $14::text[]${withSplit ? ', $15::jsonb[]' : ''}) with ordinality
      as u(principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, content_hash${withSplit ? ', split' : ''}, n)),
  place as materialized (select nextval('metering_order') as position),
  fresh as (
    insert into usage_dedupe (principal, source, event_id, tenant_id, content_hash, received_at)
    select principal, source, event_id, tenant_id, content_hash, $1::timestamptz from given order by n
    on conflict do nothing returning principal, source, event_id),
  stored as (
    insert into usage_events (principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, received_at, content_hash, position${withSplit ? ', split' : ''})
    select principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, $1::timestamptz, content_hash, (select position from place)${withSplit ? ', split' : ''}
      from given join fresh using (principal, source, event_id)
    returning subscription_id, metric, occurred_at)
  select case when (select count(*) from stored) = cardinality($4::text[]) then null
              else array(select n::int from given join fresh using (principal, source, event_id)) end as fresh,
         exists (select 1 from stored e join series s on s.subscription_id = e.subscription_id and s.metric = e.metric
                  and (e.occurred_at < s.next_hour or s.completed_at is not null and e.occurred_at <= s.ended_at + interval '${CARRY_LIMIT} microseconds')) as late`;
const STORE = storeSql(false);
/** Few sources split what they report; the others pay nothing for it. */
const STORE_SPLIT = storeSql(true);

/**
 * Stores the rows whose key is new, under the shards' shared fence. They must be sorted by key and have no key twice: one order
 * for all, so that two requests with the same ids wait for each other instead of deadlocking. Answers the content hash under
 * which each other key was stored before, undefined where another tenant holds it.
 */
export async function storeSamples(
  tx: Pick<Tx, 'query'>,
  rows: readonly SampleRow[],
  now: bigint,
): Promise<Map<string, string | undefined>> {
  const seen = new Map<string, string | undefined>();
  if (rows.length === 0) return seen;
  const split = rows.some((r) => r.event.split);
  const [answer] = await tx.query<{ fresh: number[] | null; late: boolean }>(split ? STORE_SPLIT : STORE, [
    instantText(now),
    textArray(rows, (r) => r.poster),
    textArray(rows, (r) => r.event.source),
    textArray(rows, (r) => r.event.id),
    plainArray(rows, (r) => instantText(r.event.at)),
    plainArray(rows, (r) => r.tenantId),
    plainArray(rows, (r) => r.subscriptionId),
    plainArray(rows, (r) => r.event.placementId),
    textArray(rows, (r) => r.event.metric),
    plainArray(rows, (r) => r.event.kind),
    plainArray(rows, (r) => r.event.value.toString()),
    textArray(rows, (r) => r.event.epoch),
    plainArray(rows, (r) => r.event.sequence.toString()),
    plainArray(rows, (r) => r.hash),
    ...(split ? [rows.map((r) => (r.event.split ? splitJson(r.event.split) : null))] : []),
  ]);
  const fresh = answer!.fresh === null ? null : new Set(answer!.fresh);
  const taken = fresh === null ? rows : rows.filter((_, i) => fresh.has(i + 1));
  if (answer!.late)
    await markLate(
      tx,
      taken.map((r) => ({ subscriptionId: r.subscriptionId, metric: r.event.metric, at: r.event.at })),
    );
  if (fresh === null) return seen;
  const known = rows.filter((_, i) => !fresh.has(i + 1));
  for (const r of known) seen.set(r.key, undefined);
  // Whoever stored them has committed: we waited for it.
  const hashes = await tx.query<{ n: number; content_hash: string }>(
    `select n::int, d.content_hash from unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) with ordinality as u(p, s, i, t, n)
       join usage_dedupe d on d.principal = u.p and d.source = u.s and d.event_id = u.i and d.tenant_id = u.t`,
    [
      textArray(known, (r) => r.poster),
      textArray(known, (r) => r.event.source),
      textArray(known, (r) => r.event.id),
      plainArray(known, (r) => r.tenantId),
    ],
  );
  for (const h of hashes) seen.set(known[h.n - 1]!.key, h.content_hash);
  return seen;
}

const splitJson = (parts: NonNullable<SampleEvent['split']>): string =>
  JSON.stringify(parts.map((p) => ({ labels: p.labels, value: p.value.toString() })));

/** An array as Postgres reads it, of texts that need no quotes: uuids, digits, instants, hashes, names of our own. */
const plainArray = <T>(rows: readonly T[], of: (row: T) => string): string => `{${rows.map(of).join(',')}}`;
/** Of any text. */
const textArray = <T>(rows: readonly T[], of: (row: T) => string): string => `{${rows.map((r) => quoted(of(r))).join(',')}}`;
const quoted = (text: string): string =>
  /^[\w./:@+-]+$/.test(text) && !/^null$/i.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&')}"`;
