// Purchases and samples for bench/close-hour.mjs, made by the database itself, and what must come of them.
import { randomUUID } from 'node:crypto';

export const HOUR = 3_600_000;
export const FIRST_HOUR = Date.parse('2026-03-02T00:00:00Z');
const SOURCE = '/cells/bench';
const GIB = 2n ** 30n;
const MIB = 2n ** 20n;
/** Of purchase i: bytes stored all the time, and bytes moved in five minutes. */
const STORED = `(i % 97 + 3) * ${GIB}::numeric`;
const MOVED = `((i % 13 + 1) * ${MIB}::numeric + i % 1000)`;

const METER = {
  source: 'cell',
  decimals: 6,
  included: null,
  includedBy: 'seller',
  gap: 'carry',
  billableWhileSuspended: false,
  emission: 'live',
};
const METERS = [
  {
    ...METER,
    meter: 'gib_hours_stored',
    metric: 'stored_bytes',
    kind: 'gauge_integral',
    dimension: 'stored',
    listedUnit: 'GiB-hour',
    basePerUnit: (GIB * 3_600_000_000n).toString(),
  },
  {
    ...METER,
    meter: 'mib_egress',
    metric: 'egress_bytes',
    kind: 'counter',
    dimension: 'egress',
    listedUnit: 'MiB',
    basePerUnit: MIB.toString(),
    decimals: 0,
    included: { quantity: '10', period: 'month' },
  },
];

/** As many purchases of one Azure plan, each with a tenant, a segment and a placement in a cell, since the first hour. */
export async function makePurchases(db, count) {
  const plan = randomUUID();
  const document = {
    planVersionId: plan,
    marketplace: 'azure',
    externalOfferId: 'object-cells',
    externalPlanId: 'standard',
    version: 1,
    contentHash: plan,
    offerName: 'Cells',
    planName: 'Standard',
    shape: 'cell',
    regions: [],
    defaultRegion: 'local',
    acknowledge: 'on_serving',
    features: {},
    quotas: [{ name: 'storage_bytes', unit: 'bytes', hardLimit: (1000n * GIB).toString(), per: 'plan' }],
    meters: METERS,
  };
  const since = new Date(FIRST_HOUR);
  await db.query(
    `insert into plan_versions (plan_version_id, marketplace, external_offer_id, external_plan_id, version, content_hash, document, loaded_at)
     values ($1, 'azure', 'object-cells', 'standard', 1, $2, $3, $4)`,
    [plan, plan, JSON.stringify(document), since],
  );
  await db.query(
    'create table purchases as select i, gen_random_uuid() as sub, gen_random_uuid() as tenant, gen_random_uuid() as placement from generate_series(1, $1::int) i',
    [count],
  );
  await db.query(
    `insert into subscriptions (subscription_id, marketplace, external_subscription_id, tenant_id, state, plan_version_id, external_offer_id, external_plan_id, truth, created_at, updated_at)
     select sub, 'azure', sub::text, tenant, 'active', $1, 'object-cells', 'standard', '{}', $2, $2 from purchases`,
    [plan, since],
  );
  await db.query(
    `insert into segments (segment_id, subscription_id, tenant_id, sequence, starts_at, plan_version_id, external_plan_id, billable, reason, created_at)
     select gen_random_uuid(), sub, tenant, 1, $2, $1, 'standard', true, 'activated', $2 from purchases`,
    [plan, since],
  );
  await db.query(
    `insert into usage_bindings (placement_id, tenant_id, subscription_id, source, valid_from) select placement, tenant, sub, '${SOURCE}', $1 from purchases`,
    [since],
  );
  await db.query('analyze');
}

/** Twelve samples of each series for hour n, stored as intake stores them, and the source's watermark at the hour's end. `settle`: the database has caught up. */
export async function makeSamples(db, n, settle = true) {
  const from = new Date(FIRST_HOUR + n * HOUR);
  await db.query('select ensure_usage_day($1::date)', [from]);
  // The very first sample of a counter is the base of its hour.
  await db.query(
    `insert into usage_events (principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, received_at, content_hash)
     select 'cell:bench', '${SOURCE}', i || '.' || $2 + k || '.' || metric, $1::timestamptz + make_interval(mins => 5 * k), tenant, sub, placement, metric, kind,
            case kind when 'gauge' then ${STORED} else (${MOVED}) * ($2 + k) end, 'boot', $2 + k, $1::timestamptz + make_interval(mins => 5 * k, secs => 1), md5(i::text)
       from purchases cross join generate_series(0, 11) k cross join (values ('stored_bytes', 'gauge'), ('egress_bytes', 'counter')) as m(metric, kind)`,
    [from, n * 12],
  );
  await db.query(
    `insert into usage_sources (source, watermark, last_sequence, received_at, principal) values ('${SOURCE}', $1, $2, $1, 'cell:bench')
     on conflict (source) do update set watermark = excluded.watermark, last_sequence = excluded.last_sequence`,
    [new Date(FIRST_HOUR + (n + 1) * HOUR), n + 1],
  );
  if (!settle) return;
  // As autovacuum does in an installation that grows this fast.
  await db.query('analyze usage_events');
  await db.query('checkpoint');
}

/** Of hour n: how many series were closed, how many from samples alone, how many gauges say something else than was stored. */
export async function countClosed(db, n) {
  const hour = new Date(FIRST_HOUR + n * HOUR);
  const { rows } = await db.query(
    `select count(*)::int as closings, count(*) filter (where quality = 'measured')::int as measured,
            (select count(*) from usage_records r join purchases on sub = r.subscription_id
              where r.hour = $1 and r.meter = 'gib_hours_stored' and r.base_quantity <> (${STORED})::numeric * 3600000000)::int as wrong,
            (select count(*) from submission_items where hour = $1)::int as items
       from hour_closings where hour = $1`,
    [hour],
  );
  return rows[0];
}
