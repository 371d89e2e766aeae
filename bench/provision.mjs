// npm run bench -- provision [--orders 200] [--at-once 20] [--fleet 10000] [--seconds 60]
// What the control plane itself costs. Orders: from the order to `active`, at so many at a time, each on a cluster of its own, without the
// time that the driver had it: waiting to be claimed, our own transactions, our own pauses. At rest: processor time of the worker and of
// Postgres over a fleet in which nothing happens. The driver is the in-memory fake in both: no machine stands behind it.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import pino from 'pino';
import { migrate, openDatabase, OffsetClock, PgNudger, roleUrl, Sealer, Tasks, uuidv7 } from '../dist/libs/platform/src/index.js';
import { FakeDriver } from '../dist/libs/provisioning/core/src/testing/fake-driver.js';
import { ProvisioningEngine } from '../dist/libs/provisioning/engine/src/index.js';
import { asking, bench, familySeconds, program, settingsOf } from './lib/bench.mjs';

const { values } = parseArgs({
  options: {
    orders: { type: 'string', default: '200' },
    'at-once': { type: 'string', default: '20' },
    fleet: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '60' },
  },
});
const [ORDERS, AT_ONCE, FLEET, SECONDS] = [values.orders, values['at-once'], values.fleet, values.seconds].map(Number);
const GOALS = { own_share_p95_s: 1.5, idle_core_share: 0.05 };
const SPEC = { region: 'here', shape: 'small', nodes: 1, version: null, capacityBytes: null, labels: {} };

bench(async (_, stops, postgres) => {
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  stops.push(() => admin.end());
  console.log(`measured: the engine and its task runner in a worker of their own, over the in-memory fake driver (no machine behind it)
postgres: ${await settingsOf(admin)}`);
  const figures = {
    own_share_p95_s: await orders(admin, postgres.url, stops),
    idle_core_share: await idle(admin, postgres, stops),
  };
  console.log('');
  for (const [name, goal] of Object.entries(GOALS))
    console.log(`BENCH provision ${name}=${figures[name].toFixed(3)} goal=${goal} ${figures[name] <= goal ? 'met' : 'short'}`);
  return 0;
});

async function database(admin, serverUrl, name) {
  await admin.query(`create database ${name}`);
  const url = Object.assign(new URL(serverUrl), { pathname: `/${name}` }).href;
  const secret = randomUUID() + randomUUID();
  await migrate({ adminUrl: url, secret });
  return { url, secret };
}

const startWorker = (stops, given) => program(stops, 'bench/lib/provision-worker.mjs', [], { BENCH_WORKER: JSON.stringify(given) });

async function orders(admin, serverUrl, stops) {
  const given = await database(admin, serverUrl, 'orders');
  const clock = new OffsetClock();
  const logger = pino({ level: 'error' });
  const db = await openDatabase({ adminUrl: given.url, secret: given.secret, poolSize: 4 });
  const nudger = new PgNudger(roleUrl(given.url, 'ops', given.secret), logger);
  stops.push(
    () => db.close(),
    () => nudger.stop(),
  );
  const engine = new ProvisioningEngine({
    db,
    tasks: new Tasks(clock, nudger),
    clock,
    sealer: new Sealer(given.secret),
    logger,
    drivers: new Map([['fake', new FakeDriver(clock)]]),
    issueCellKey: (_tx, clusterId) => Promise.resolve(`key-of-${clusterId}`),
    ingestUrl: () => null,
    placementPolicy: { cellCapacity: 1 },
  });
  const ask = asking(await startWorker(stops, given));
  const look = new pg.Client({ connectionString: given.url });
  await look.connect();
  stops.push(() => look.end());

  let left = ORDERS;
  const waits = new Map();
  /** One look for all who wait, so that measuring does not cost what is measured. */
  let over = false;
  const watch = (async () => {
    while (!over) {
      const { rows } = await look.query(`select placement_id from placements where activated_at is not null and placement_id = any($1)`, [
        [...waits.keys()],
      ]);
      for (const { placement_id: id } of rows) {
        waits.get(id)();
        waits.delete(id);
      }
      await sleep(20);
    }
  })();
  const asked = [];
  const hand = async () => {
    while (left > 0) {
      left -= 1;
      const at = Date.now();
      const request = { tenantId: uuidv7(), subscriptionId: uuidv7(), region: 'here', shape: 'small', limits: { hardQuotaBytes: null } };
      const { placementId } = await db.ops((tx) => engine.requestPlacement(tx, request));
      asked.push({ placementId, at });
      await new Promise((resolve) => waits.set(placementId, resolve));
    }
  };
  console.log(`\n${ORDERS} orders, ${AT_ONCE} at a time, a cluster for each`);
  const began = performance.now();
  await Promise.all(Array.from({ length: AT_ONCE }, hand));
  const seconds = (performance.now() - began) / 1_000;
  over = true;
  await watch;
  const { driver } = await ask('driver');
  const { rows } = await look.query(
    `select p.placement_id, p.activated_at, c.name, min(s.intent_at) as claimed, count(*)::int as steps from placements p join clusters c using (cluster_id)
       join operations o on o.cluster_id = c.cluster_id join operation_steps s using (operation_id) group by 1, 2, 3`,
  );
  const facts = new Map(rows.map((row) => [row.placement_id, row]));
  const own = asked.map(({ placementId, at }) => {
    const row = facts.get(placementId);
    return { wall: row.activated_at.getTime() - at, driver: driver[row.name] ?? 0, queue: row.claimed.getTime() - at, steps: row.steps };
  });
  const p = (list, share) => list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))] / 1_000;
  const shares = own.map((o) => o.wall - o.driver);
  console.log(`  ${(ORDERS / seconds).toFixed(1)} orders/s; ${Math.max(...own.map((o) => o.steps))} steps of the ledger each
  own share    p50 ${p(shares, 0.5).toFixed(3)} s  p95 ${p(shares, 0.95).toFixed(3)} s  most ${p(shares, 1).toFixed(3)} s
  until claimed p50 ${p(
    own.map((o) => o.queue),
    0.5,
  ).toFixed(3)} s  p95 ${p(
    own.map((o) => o.queue),
    0.95,
  ).toFixed(3)} s
  the driver   p95 ${p(
    own.map((o) => o.driver),
    0.95,
  ).toFixed(3)} s`);
  return p(shares, 0.95);
}

async function idle(admin, postgres, stops) {
  const given = await database(admin, postgres.url, 'fleet');
  const look = new pg.Client({ connectionString: given.url });
  await look.connect();
  stops.push(() => look.end());
  // Half of them with a tenant, all of them at rest, as an engine leaves them.
  await look.query(
    `insert into clusters (cluster_id, name, driver, variant, region, shape, phase, desired, recorded, generation, observed_generation, created_at, updated_at)
     select gen_random_uuid(), 'cell-here-' || i, 'fake', 'shared', 'here', 'small', 'active', $1, '{"stateSerial": 1, "validated": true}', 1, 1, now(), now()
       from generate_series(0, $2 - 1) i`,
    [JSON.stringify(SPEC), FLEET],
  );
  await look.query(
    `insert into placements (placement_id, tenant_id, subscription_id, cluster_id, account_name, phase, desired, generation, observed_generation, region, activated_at, created_at, updated_at)
     select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), cluster_id, 'a' || substr(replace(cluster_id::text, '-', ''), 1, 20), 'active',
            '{"state": "active", "limits": {"hardQuotaBytes": null}}', 1, 1, 'here', now(), now(), now() from clusters where right(name, 1) in ('0', '2', '4', '6', '8')`,
  );
  await look.query('analyze');
  const worker = await startWorker(stops, { ...given, fleet: FLEET, spec: SPEC });
  const ask = asking(worker);
  console.log(`\n${FLEET} clusters at rest, ${SECONDS} s`);
  await sleep(10_000); // what a start costs is not what rest costs
  const seen = async () => (await look.query(`select count(*)::int as n from clusters where observed is not null`)).rows[0].n;
  const before = { cpu: (await ask('cpu')).cpuSeconds, postgres: familySeconds(postgres.pid), seen: await seen(), at: performance.now() };
  await sleep(SECONDS * 1_000);
  const { cpuSeconds, rssMb } = await ask('cpu');
  const seconds = (performance.now() - before.at) / 1_000;
  const node = (cpuSeconds - before.cpu) / seconds;
  const server = (familySeconds(postgres.pid) - before.postgres) / seconds;
  const looked = (await seen()) - before.seen;
  if (looked === 0 && before.seen < FLEET) throw new Error('nothing was looked at: there is nothing to measure');
  console.log(`  node ${(node * 100).toFixed(1)} %, Postgres ${(server * 100).toFixed(1)} % of one core; ${rssMb.toFixed(0)} MB
  ${(looked / seconds).toFixed(0)} clusters looked at for the first time in each second: all of them within ${Math.round(FLEET / Math.max(1, looked / seconds))} s`);
  return node + server;
}
