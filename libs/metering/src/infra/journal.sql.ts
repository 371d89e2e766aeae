import { isUuid, type Tx } from '#platform';
import { ENGINE_SOURCE } from '../domain/usage-event.js';
import { hiddenSource } from './purchase-bindings.sql.js';
import { us } from './us.js';

const LINES_AT_ONCE = 2_000;

/**
 * Purchases that cannot be replayed: an hour of theirs was closed before the order of closings was noted, or the samples of
 * one are forgotten by now.
 */
export async function notReplayable(tx: Tx): Promise<string[]> {
  const rows = await tx.query<{ id: string }>(
    `select distinct c.subscription_id as id from hour_closings c
      where not exists (select 1 from closing_steps s where s.kind = 'close' and s.shard = c.shard and s.root_sequence = c.root_sequence)
         or (c.inputs > 0 and to_regclass('public.usage_events_' || to_char(c.hour at time zone 'UTC', 'YYYYMMDD')) is null) order by 1`,
  );
  return rows.map((r) => r.id);
}

/** First hour and end of the last closed one of the purchases not left out. */
export async function spanOf(tx: Tx, leftOut: string[]): Promise<{ from: string | null; to: string | null }> {
  const [row] = await tx.query<{ from: string | null; to: string | null }>(
    `select ${us('min(hour)')} as "from", ${us(`max(hour) + interval '1 hour'`)} as "to" from hour_closings where subscription_id <> all($1::uuid[])`,
    [leftOut],
  );
  return row!;
}

/**
 * What came from outside and what closers did, each a line of JSON, in their order. Whole numbers as text; free text of posters
 * as hashes. Rows from before the order was noted come first.
 */
export async function* orderedLines(tx: Tx, leftOut: string[]): AsyncGenerator<string> {
  // A cursor takes no parameters.
  if (!leftOut.every(isUuid)) throw new Error('a purchase id is no uuid');
  const kept = (column: string): string => `${column} <> all(array[${leftOut.map((id) => `'${id}'`).join(',')}]::uuid[])`;
  yield* fetched(
    tx,
    `select body::text as line from (
       select coalesce(position, 0) as p, ${us('occurred_at')}::bigint as o, json_build_object('line', 'sample',
              'id', placement_id || ':' || metric || ':' || lpad(n::text, 6, '0'), 'poster', left(encode(sha256(convert_to(principal, 'UTF8')), 'hex'), 24), 'source', ${hiddenSource('source')},
              'at', ${us('occurred_at')}, 'tenantId', tenant_id, 'subscriptionId', subscription_id, 'placementId', placement_id, 'metric', metric, 'kind', kind, 'value', value::text,
              'epoch', case when source = '${ENGINE_SOURCE}' then epoch else left(encode(sha256(convert_to(epoch, 'UTF8')), 'hex'), 24) end,
              'sequence', sequence::text, 'receivedAt', ${us('received_at')}) as body
         from (select *, row_number() over (partition by placement_id, metric, occurred_at order by sequence, event_id, principal, source) as n from usage_events) e
       union all
       select position, 0, json_build_object('line', 'facts', 'subscriptionId', subscription_id, 'tenantId', tenant_id, 'marketplace', facts ->> 'marketplace', 'endedAt', facts ->> 'endedAt',
              'segments', facts -> 'segments', 'bindings', facts -> 'bindings') from closing_facts where ${kept('subscription_id')}
       union all
       select s.position, 0, json_build_object('line', 'close', 'shard', s.shard, 'hour', ${us('s.hour')}, 'at', ${us('s.at')}, 'rules', s.rules, 'closed', c.closed)
         from closing_steps s cross join lateral (
           select json_agg(json_build_object('subscriptionId', c.subscription_id, 'meter', c.meter, 'watermark', b.watermark) order by c.subscription_id, c.meter) as closed
             from hour_closings c left join jsonb_to_recordset(s.body) as b("subscriptionId" uuid, meter text, watermark text) on b."subscriptionId" = c.subscription_id and b.meter = c.meter
            where c.shard = s.shard and c.root_sequence = s.root_sequence and ${kept('c.subscription_id')}) c
        where s.kind = 'close' and c.closed is not null
       union all
       select s.position, 0, json_build_object('line', 'absorb', 'shard', s.shard, 'at', ${us('s.at')}, 'absorbed', a.absorbed)
         from closing_steps s cross join lateral (select json_agg(x) as absorbed from jsonb_array_elements(s.body) x where ${kept(`(x ->> 'subscriptionId')::uuid`)}) a
        where s.kind = 'absorb' and a.absorbed is not null
       union all
       select position, 0, json_build_object('line', 'entry', 'subscriptionId', subscription_id, 'meter', meter, 'tenantId', tenant_id, 'hour', ${us('hour')}, 'segmentId', segment_id, 'term', term,
              'cause', cause, 'ref', ref, 'quantity', quantity::text, 'at', ${us('recorded_at')}) from ledger_entries where position is not null and ${kept('subscription_id')}
       union all
       select position, 0, json_build_object('line', 'carry', 'subscriptionId', subscription_id, 'meter', meter, 'tenantId', tenant_id, 'segmentId', segment_id, 'kind', kind, 'stage', stage,
              'cause', cause, 'origin', origin, 'fromHour', ${us('from_hour')}, 'amount', amount::text, 'at', ${us('made_at')}) from carry_ins where position is not null and ${kept('subscription_id')}
     ) all_lines order by p, o, body ->> 'id' collate "C"`,
  );
}

/** What is settled of the submissions, in order of their ids. */
export async function* outcomeLines(tx: Tx, leftOut: string[]): AsyncGenerator<string> {
  if (!leftOut.every(isUuid)) throw new Error('a purchase id is no uuid');
  yield* fetched(
    tx,
    `select json_build_object('line', 'outcome', 'itemId', item_id, 'state', state, 'accepted', accepted_quantity::text, 'at', ${us('settled_at')})::text as line
       from submission_items where settled_at is not null and state not in ('shadow', 'invoiced')
        and subscription_id <> all(array[${leftOut.map((id) => `'${id}'`).join(',')}]::uuid[]) order by item_id`,
  );
}

async function* fetched(tx: Tx, sql: string): AsyncGenerator<string> {
  await tx.query(`declare journal_lines no scroll cursor for ${sql}`);
  for (;;) {
    const rows = await tx.query<{ line: string }>(`fetch ${LINES_AT_ONCE} from journal_lines`);
    for (const r of rows) yield r.line;
    if (rows.length < LINES_AT_ONCE) break;
  }
  await tx.query('close journal_lines');
}

/** The prices, without who read them and where. */
export async function priceLines(tx: Tx): Promise<string[]> {
  const rows = await tx.query<{ line: string }>(
    `select json_build_object('line', 'price', 'marketplace', marketplace, 'externalOfferId', external_offer_id, 'externalPlanId', external_plan_id, 'dimension', dimension,
            'subscriptionId', subscription_id, 'currency', currency, 'unitPrice', unit_price::text, 'effectiveFrom', ${us('effective_from')}, 'recordedAt', ${us('recorded_at')})::text as line
       from prices order by price_id`,
  );
  return rows.map((r) => r.line);
}
