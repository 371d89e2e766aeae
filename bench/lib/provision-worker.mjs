// The engine of the build in a process of its own, as a worker runs it: task runner, poller with LISTEN/NOTIFY, supervision. The
// driver is the fake in memory, which answers at once: what takes time here is all the control plane's own.
// node bench/lib/provision-worker.mjs <admin url> <secret>; answers each line of JSON on its standard input.
import { createInterface } from 'node:readline';
import {
  createLogger,
  openDatabase,
  PgNudger,
  roleUrl,
  Sealer,
  OffsetClock,
  TaskRunner,
  Tasks,
  uuidv7,
} from '../../dist/libs/platform/src/index.js';
import { FakeDriver } from '../../dist/libs/provisioning/core/src/testing/fake-driver.js';
import { ProvisioningEngine, registerProvisioningHandlers } from '../../dist/libs/provisioning/engine/src/index.js';

const [adminUrl, secret] = process.argv.slice(2);
const logger = createLogger('bench', 'error');
const clock = new OffsetClock();
const db = await openDatabase({ adminUrl, secret });
const nudger = new PgNudger(roleUrl(adminUrl, 'ops', secret), logger);
const tasks = new Tasks(clock, nudger);
const driver = new FakeDriver(clock);
const engine = new ProvisioningEngine({
  db,
  tasks,
  clock,
  logger,
  sealer: new Sealer(secret),
  drivers: new Map([['fake', driver]]),
  issueCellKey: async (_tx, id) => `key-of-${id}`,
  ingestUrl: () => 'http://127.0.0.1:9/usage',
});
const runner = new TaskRunner(db, clock, nudger, logger);
registerProvisioningHandlers(runner, engine);
runner.addClock(() => engine.supervise(), 'clusters');
await runner.start();

const ANSWERS = {
  /** One after the other at the same time: `atOnce` buyers, each orders again as soon as it is served. */
  async orders({ count, atOnce }) {
    let left = count;
    const cpu = process.cpuUsage();
    const buyer = async () => {
      while (left-- > 0) {
        const ids = { tenantId: uuidv7(), subscriptionId: uuidv7() };
        const { placementId } = await db.ops((tx) =>
          engine.requestPlacement(tx, { ...ids, region: 'here', shape: 'small', limits: { hardQuotaBytes: 1_000_000n } }),
        );
        await served(placementId);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, buyer));
    const used = process.cpuUsage(cpu);
    return { cpuSeconds: (used.user + used.system) / 1e6 };
  },
  /** Active clusters with one placement each, in the database and in the driver. */
  async fleet({ count }) {
    for (let n = 0; n < count; n += 1_000) await makeFleet(Math.min(1_000, count - n));
    return { clusters: driver.clusters.size };
  },
  async looked({ since }) {
    const [row] = await db.ops((tx) =>
      tx.query(`select count(*)::int as n from clusters where phase = 'active' and (observed ->> 'observedAt')::timestamptz > $1`, [since]),
    );
    return { clusters: row.n };
  },
};

const waiting = new Map();
const served = (placementId) => new Promise((resolve) => waiting.set(placementId, resolve));
// One look for all buyers; when each was served stands in its row.
setInterval(async () => {
  if (waiting.size === 0) return;
  const rows = await db.ops((tx) =>
    tx.query(`select placement_id from placements where placement_id = any($1::uuid[]) and phase = 'active'`, [[...waiting.keys()]]),
  );
  for (const { placement_id } of rows) {
    waiting.get(placement_id)?.();
    waiting.delete(placement_id);
  }
}, 25);

async function makeFleet(count) {
  const clusters = Array.from({ length: count }, () => {
    const id = uuidv7();
    return { id, name: `cell-here-${id.slice(-12)}`, placement: uuidv7() };
  });
  await db.ops(async (tx) => {
    await tx.query(
      `insert into clusters (cluster_id, name, driver, variant, region, shape, phase, desired, recorded, generation, observed_generation, created_at, updated_at)
       select id, name, 'fake', 'shared', 'here', 'large', 'active', jsonb_build_object('region', 'here', 'shape', 'large', 'nodes', 1, 'version', null, 'capacityBytes', null, 'labels', '{}'::jsonb),
              '{"stateSerial": 1, "validated": true}', 1, 1, now(), now() from unnest($1::uuid[], $2::text[]) as u(id, name)`,
      [clusters.map((c) => c.id), clusters.map((c) => c.name)],
    );
    await tx.query(
      `insert into placements (placement_id, tenant_id, subscription_id, cluster_id, account_name, phase, desired, generation, observed_generation, region, activated_at, created_at, updated_at)
       select p, gen_random_uuid(), gen_random_uuid(), c, 'b' || right(replace(p::text, '-', ''), 19), 'active', '{"state": "active", "limits": {"hardQuotaBytes": "1000000"}}', 1, 1, 'here', now(), now(), now()
         from unnest($1::uuid[], $2::uuid[]) as u(p, c)`,
      [clusters.map((c) => c.placement), clusters.map((c) => c.id)],
    );
  });
  const spec = { region: 'here', shape: 'large', nodes: 1, version: null, capacityBytes: null, labels: {} };
  for (const { id, name, placement } of clusters) {
    const made = { placementId: placement, accountName: `b${placement.replaceAll('-', '').slice(-19)}`, state: 'active' };
    driver.clusters.set(name, {
      externalId: `fake-${id}`,
      ref: name,
      spec,
      serial: 1,
      generation: 1,
      managed: true,
      broken: false,
      placements: new Map([[placement, made]]),
      accounts: new Map([[placement, made.accountName]]),
      data: new Map(),
    });
  }
}

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  console.log(JSON.stringify(await ANSWERS[question.do](question)));
}
