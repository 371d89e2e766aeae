// The worker of `npm run bench -- provision`: the engine with its runner as in production, over the fake driver. Each line of its input is
// a question, answered with a line of JSON: `driver` tells how long the driver had each cluster, `cpu` what the process has used.
import { createInterface } from 'node:readline';
import pino from 'pino';
import { openDatabase, OffsetClock, PgNudger, roleUrl, Sealer, TaskRunner, Tasks } from '../../dist/libs/platform/src/index.js';
import { FakeDriver } from '../../dist/libs/provisioning/core/src/testing/fake-driver.js';
import { ProvisioningEngine, registerProvisioningHandlers } from '../../dist/libs/provisioning/engine/src/index.js';

const { url, secret, fleet = 0, spec } = JSON.parse(process.env.BENCH_WORKER);
const logger = pino({ level: 'error' }, pino.destination(2));
const clock = new OffsetClock();
const db = await openDatabase({ adminUrl: url, secret });
const nudger = new PgNudger(roleUrl(url, 'ops', secret), logger);
const driver = new FakeDriver(clock);
const spent = new Map();
const timed = new Proxy(driver, {
  get(target, name) {
    const value = Reflect.get(target, name);
    if (typeof value !== 'function') return value;
    if (name === 'capabilities') return value.bind(target);
    return async (call, ...rest) => {
      const from = performance.now();
      try {
        return await value.call(target, call, ...rest);
      } finally {
        spent.set(call.clusterRef, (spent.get(call.clusterRef) ?? 0) + performance.now() - from);
      }
    };
  },
});
for (const name of Array.from({ length: fleet }, (_, i) => `cell-here-${i}`))
  driver.clusters.set(name, {
    externalId: name,
    ref: name,
    spec,
    serial: 1,
    generation: 1,
    managed: true,
    broken: false,
    placements: new Map(),
    accounts: new Map(),
    data: new Map(),
  });

const engine = new ProvisioningEngine({
  db,
  tasks: new Tasks(clock, nudger),
  clock,
  sealer: new Sealer(secret),
  logger,
  drivers: new Map([['fake', timed]]),
  issueCellKey: (_tx, clusterId) => Promise.resolve(`key-of-${clusterId}`),
  ingestUrl: () => null,
});
const runner = new TaskRunner(db, clock, nudger, logger);
registerProvisioningHandlers(runner, engine);
runner.addClock(() => engine.supervise());
await runner.start();
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  const { user, system } = process.cpuUsage();
  const answer =
    line === 'driver'
      ? { driver: Object.fromEntries(spent) }
      : { cpuSeconds: (user + system) / 1e6, rssMb: process.memoryUsage().rss / 2 ** 20 };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
