// The bare reference of bench/close-hour.mjs: Postgres alone reads the samples of an hour and writes the rows that were made of the
// hour before, once more, under new ids and an hour later. Same tables, keys and triggers, one transaction a shard, two at a time,
// every row already there: nothing is gathered into streams, measured, billed, hashed, sent over a socket or checked for being due.
// What is left is what these rows cost however they were made.
import pg from 'pg';

const SHARDS = 64;
const AT_ONCE = 2;
const RECORD =
  'tenant_id, subscription_id, marketplace, meter, segment_id, dimension, hour, base_quantity, quantity, decimals, listed_unit, base_per_unit, plan_version_id, external_plan_id, starts_at, ends_at, quality, closed_at';
const ITEM =
  'tenant_id, subscription_id, marketplace, hour, batch_key, gate, wire, state, hold_reason, target_at, hard_at, next_attempt_at, created_at';
const ENTRY = 'subscription_id, meter, hour, segment_id, term, cause, ref, tenant_id, quantity, recorded_at';
const CLOSING =
  'subscription_id, meter, hour, tenant_id, opening, closing, inputs, inputs_digest, terms, records, carry_ins, quality, closed_at, leaf_hash, shard, root_sequence';

/** Rows of `hour` (a Date) as they are to be written again, by shard; outside what is measured. */
export async function prepareBare(db, hour) {
  const later = (columns, alias) =>
    columns
      .split(', ')
      .map((c) => (c === 'hour' ? `${alias}.hour + interval '1 hour' as hour` : `${alias}.${c}`))
      .join(', ');
  const of = (alias) => `${alias} where ${alias}.hour = '${hour.toISOString()}'`;
  const shard = (alias) => `(select s.shard from series s where s.subscription_id = ${alias}.subscription_id limit 1)`;
  await db.query(`
    drop table if exists bare_items, bare_records, bare_entries, bare_closings;
    create unlogged table bare_records as
      select gen_random_uuid() as id, r.record_id as old, ${shard('r')} as of_shard, ${later(RECORD, 'r')} from usage_records ${of('r')} order by 3;
    create unlogged table bare_items as
      select gen_random_uuid() as id, b.id as record, b.of_shard, ${later(ITEM, 'i')} from bare_records b join submission_items i on i.record_id = b.old order by 3;
    create unlogged table bare_entries as select ${shard('e')} as of_shard, ${later(ENTRY, 'e')} from ledger_entries ${of('e')} order by 1;
    create unlogged table bare_closings as select ${later(CLOSING, 'c')} from hour_closings ${of('c')} order by c.shard;
    create index on bare_records (of_shard);
    create index on bare_items (of_shard);
    create index on bare_entries (of_shard);
    create index on bare_closings (shard);
    analyze bare_records; analyze bare_items; analyze bare_entries; analyze bare_closings`);
  await db.query('checkpoint');
}

/** Seconds for all shards. `hour` is the one whose samples are read, a Date. */
export async function runBare(url, hour) {
  const clients = await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      return client;
    }),
  );
  const shards = Array.from({ length: SHARDS }, (_, shard) => shard);
  const end = new Date(hour.getTime() + 3_600_000);
  const started = performance.now();
  try {
    await Promise.all(
      clients.map(async (db) => {
        for (let shard = shards.shift(); shard !== undefined; shard = shards.shift()) {
          await db.query('begin');
          await db.query(
            `select e.lines from series s join usage_bindings b on b.subscription_id = s.subscription_id
              cross join lateral (select string_agg(concat(e.value, ' ', e.sequence, ' ', e.epoch), ',') as lines from usage_events e
                where e.placement_id = b.placement_id and e.metric = s.metric and e.occurred_at >= $2 and e.occurred_at <= $3) e where s.shard = $1`,
            [shard, hour, end],
          );
          await db.query(`insert into usage_records (record_id, ${RECORD}) select id, ${RECORD} from bare_records where of_shard = $1`, [
            shard,
          ]);
          await db.query(
            `insert into submission_items (item_id, record_id, ${ITEM}) select id, record, ${ITEM} from bare_items where of_shard = $1`,
            [shard],
          );
          await db.query(`insert into ledger_entries (${ENTRY}) select ${ENTRY} from bare_entries where of_shard = $1`, [shard]);
          await db.query(`insert into hour_closings (${CLOSING}) select ${CLOSING} from bare_closings where shard = $1`, [shard]);
          await db.query(
            `update series s set next_hour = c.hour + interval '1 hour', state = c.closing from bare_closings c
              where c.shard = $1 and s.subscription_id = c.subscription_id and s.meter = c.meter`,
            [shard],
          );
          await db.query('commit');
        }
      }),
    );
  } finally {
    await Promise.all(clients.map((c) => c.end()));
  }
  return (performance.now() - started) / 1000;
}
