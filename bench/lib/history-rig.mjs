// Hours that are closed and accepted, and what people ask of them, for bench/history.mjs.
import { openDatabase } from '../../dist/libs/platform/src/index.js';
import { MarketplaceRegistry } from '../../dist/libs/marketplaces/core/src/index.js';
import { createAzureAdapter } from '../../dist/libs/marketplaces/azure/src/index.js';
import * as metering from '../../dist/libs/metering/src/index.js';
import { FIRST_HOUR, HOUR } from './close-hour-rig.mjs';

/** Closes what is due at that instant, oldest hour first; `close` asks a worker of the build (`close-hour-worker.mjs`). */
export async function closeUntil(close, db, instant) {
  for (;;) {
    await close(new Date(instant + 60_000).toISOString());
    // One tick closes so many shards at most.
    const { rows } = await db.query('select count(*)::int as n from series where next_hour < $1', [new Date(instant)]);
    if (rows[0].n === 0) return;
  }
}

/** What waits was accepted: attempts, items and ledger as submission leaves them. */
export async function acceptAll(db) {
  await db.query(
    `with open as (
       select i.item_id, i.tenant_id, i.subscription_id, i.hour, r.meter, r.segment_id, r.quantity, r.base_quantity
         from submission_items i join usage_records r using (record_id) where i.settled_at is null
     ), attempted as (
       insert into submission_attempts (attempt_id, item_id, tenant_id, number, call_id, fence, at, outcome, receipt, outcome_at)
       select gen_random_uuid(), item_id, tenant_id, 1, gen_random_uuid(), 1, hour, 'accepted', item_id::text, hour from open
     ), moved as (
       insert into ledger_entries (subscription_id, meter, hour, segment_id, term, cause, ref, tenant_id, quantity, recorded_at, position)
       select subscription_id, meter, hour, segment_id, term, 'accepted', item_id::text, tenant_id, sign * base_quantity, hour, nextval('metering_order')
         from open cross join (values ('pending', -1), ('accepted', 1)) as m(term, sign) where base_quantity <> 0
     )
     update submission_items i set state = 'accepted', attempts = 1, fence = 1, last_code = 'accepted', receipt = i.item_id::text,
            accepted_quantity = o.quantity, settled_at = i.hour
       from open o where i.item_id = o.item_id`,
  );
}

/** Answers a function that asks each question some times and answers the milliseconds by question. */
export async function openReads(stops, house) {
  const db = await openDatabase({ adminUrl: house.url, secret: house.secret });
  stops.push(() => db.close());
  const nowhere = () => Promise.reject(new Error('nobody is asked'));
  const azure = createAzureAdapter(
    {
      apiUrl: 'http://127.0.0.1:9',
      authorityUrl: 'http://127.0.0.1:9',
      tenantId: '00000000-0000-4000-8000-000000000001',
      clientId: '00000000-0000-4000-8000-000000000002',
      clientSecret: 'not used',
    },
    { http: { request: nowhere }, clock: { now: () => new Date() } },
  );
  const house_ = new metering.Metering({ db, marketplaces: new MarketplaceRegistry([azure]) });
  return async (admin, hours, runs) => {
    const newest = new Date(FIRST_HOUR + (hours - 1) * HOUR);
    const span = { from: new Date(+newest - 23 * HOUR), to: new Date(+newest + HOUR) };
    const { rows } = await admin.query('select record_id, subscription_id from usage_records where hour = $1 order by 1 limit 1', [newest]);
    const { rows: purchases } = await admin.query('select sub from purchases order by 1 limit 200');
    const [{ record_id: recordId, subscription_id: subscriptionId }] = rows;
    const subscriptionIds = purchases.map((p) => p.sub);
    const page = { limit: 50 };
    const questions = {
      'records of a purchase, first page': (tx) => metering.listUsageRecords(tx, { ...page, subscriptionId }),
      'submissions that are pending (none)': (tx) => metering.listSubmissions(tx, { ...page, state: 'pending' }),
      'submissions that are held (none)': (tx) => metering.listSubmissions(tx, { ...page, state: 'held' }),
      'submissions that were rejected (none)': (tx) => metering.listSubmissions(tx, { ...page, state: 'rejected' }),
      'usage at risk (none)': (tx) => metering.readAtRisk(tx, new Date()),
      'an explanation of a record': (tx) => house_.explainRecord(tx, recordId),
      'the sum law of a day, 200 purchases': (tx) => metering.checkSumLaw(tx, { ...span, subscriptionIds, strays: false }),
      'the sum law of a day, what is nobody’s': (tx) => metering.findStrays(tx, span),
      'open findings, first page': (tx) => metering.listFindings(tx, { ...page, open: true }),
    };
    const times = {};
    for (const [name, ask] of Object.entries(questions)) {
      times[name] = [];
      for (let n = 0; n <= runs; n += 1) {
        const started = performance.now();
        await db.ops(ask);
        // The first one warms up.
        if (n > 0) times[name].push(performance.now() - started);
      }
    }
    return times;
  };
}
