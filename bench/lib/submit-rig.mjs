// Purchases in Azure's sandbox, and records of their usage for bench/submit.mjs.
import { randomUUID } from 'node:crypto';
import { createAzureAdapter } from '../../dist/libs/marketplaces/azure/src/index.js';
import { sellerEnvironment } from '../../scripts/lib/sandbox-shop.mjs';
import { program } from './bench.mjs';

export const DIMENSIONS = ['gib_hours_stored', 'mib_egress', 'gib_hours_provisioned'];
const HOUR = 3_600_000;
const CHUNK = 20_000;

/** A sandbox of its own with active purchases that are a day old, so that hours since then may be reported. */
export async function makeShop(stops, purchases) {
  const sandbox = await program(stops, 'dist/apps/marketplace-sandbox/src/main.js', [], { SANDBOX_PORT: '0' });
  const env = await sellerEnvironment(sandbox.url);
  const post = async (path, body) => {
    const answer = await fetch(`${sandbox.url}/sandbox${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const ids = [];
  for (let i = 0; i < purchases; i += 1)
    ids.push(
      (await post('/azure/purchases', { offerId: 'object-cells', planId: 'standard', subscriptionName: `Buyer ${i}`, autoActivate: true }))
        .subscriptionId,
    );
  await post('/clock/advance', { seconds: 22 * 3_600, stepSeconds: 22 * 3_600 });
  const { now } = await (await fetch(`${sandbox.url}/sandbox/clock`)).json();
  const seller = { tenantId: env.AZURE_TENANT_ID, clientId: env.AZURE_CLIENT_ID, clientSecret: env.AZURE_CLIENT_SECRET };
  // The newest hour that is over.
  const lastHour = Math.floor(Date.parse(now) / HOUR) * HOUR - HOUR;
  return { ...sandbox, ids, now, lastHour, seller: JSON.stringify(seller) };
}

export async function billedCount(shop) {
  const answer = await fetch(`${shop.url}/sandbox/billed?marketplace=azure`);
  return (await answer.json()).items.length;
}

/** The purchases as metering reads them. */
export async function seedPurchases(db, ids) {
  const since = new Date(Date.now() - 86_400_000);
  await db.query(
    `insert into subscriptions (subscription_id, marketplace, external_subscription_id, tenant_id, state, external_offer_id, external_plan_id, truth, created_at, updated_at)
     select id, 'azure', id::text, gen_random_uuid(), 'active', 'object-cells', 'standard', '{}', $2, $2 from unnest($1::uuid[]) id`,
    [ids, since],
  );
  await db.query(
    `insert into segments (segment_id, subscription_id, tenant_id, sequence, starts_at, plan_version_id, external_plan_id, billable, reason, created_at)
     select gen_random_uuid(), subscription_id, tenant_id, 1, $1, gen_random_uuid(), 'standard', true, 'activated', $1 from subscriptions`,
    [since],
  );
}

const nowhere = () => Promise.reject(new Error('nobody is asked'));

/**
 * The wire bodies of each purchase and dimension for hours counted back from the newest; with a database, as a closing leaves
 * them: records with items that wait.
 */
export async function seedRecords(db, shop, hours) {
  const azure = createAzureAdapter(JSON.parse(shop.seller), { http: { request: nowhere }, clock: { now: () => new Date(shop.now) } });
  const rows = [];
  for (const back of hours)
    for (const id of shop.ids)
      for (const [i, dimension] of DIMENSIONS.entries()) {
        const hourStart = new Date(shop.lastHour - back * HOUR);
        const hourEnd = new Date(hourStart.getTime() + HOUR);
        const quantity = String(1 + i);
        const itemId = randomUUID();
        const wire = azure.buildUsageItem({
          itemId,
          externalSubscriptionId: id,
          externalPlanId: 'standard',
          dimension,
          hourStart,
          startsAt: hourStart,
          endsAt: hourEnd,
          quantity,
          refs: {},
        });
        const { target, hard } = azure.deadlines({ hourStart, hourEnd, endedAt: null });
        rows.push({ itemId, id, dimension, hourStart, hourEnd, quantity, wire, target, hard, batchKey: azure.batchKey(wire) });
      }
  for (let from = 0; db && from < rows.length; from += CHUNK) await insert(db, rows.slice(from, from + CHUNK), shop.now);
  if (db) await db.query('analyze submission_items, usage_records');
  return rows.map((r) => r.wire.body);
}

async function insert(db, rows, now) {
  await db.query(
    `with r as (
       select u.*, s.tenant_id, g.segment_id, g.plan_version_id from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::numeric[], $7::jsonb[], $8::timestamptz[], $9::timestamptz[], $10::text[])
         as u(item, sub, dimension, hour, hour_end, quantity, wire, target, hard, batch_key)
         join subscriptions s on s.subscription_id = u.sub join segments g on g.subscription_id = u.sub
     ), made as (
       insert into usage_records (record_id, tenant_id, subscription_id, marketplace, meter, segment_id, dimension, hour, base_quantity, quantity, decimals, listed_unit, base_per_unit,
                                  plan_version_id, external_plan_id, starts_at, ends_at, quality, closed_at)
       select item, tenant_id, sub, 'azure', dimension, segment_id, dimension, hour, quantity * 1000, quantity, 0, 'unit', 1000, plan_version_id, 'standard', hour, hour_end, 'measured', $11 from r
     )
     insert into submission_items (item_id, record_id, tenant_id, subscription_id, marketplace, hour, batch_key, gate, wire, state, target_at, hard_at, next_attempt_at, created_at)
     select item, item, tenant_id, sub, 'azure', hour, batch_key, '', wire, 'pending', target, hard, $11, $11 from r`,
    [
      rows.map((r) => r.itemId),
      rows.map((r) => r.id),
      rows.map((r) => r.dimension),
      rows.map((r) => r.hourStart),
      rows.map((r) => r.hourEnd),
      rows.map((r) => r.quantity),
      rows.map((r) => JSON.stringify(r.wire)),
      rows.map((r) => r.target),
      rows.map((r) => r.hard),
      rows.map((r) => r.batchKey),
      now,
    ],
  );
}
