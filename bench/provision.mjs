// npm run bench -- provision [--orders 300] [--runs 3] [--fleet 10000] [--seconds 120]
// The control plane's own share of provisioning: from an order to `active`, twenty buyers at a time, each ordering again as soon as
// it is served. The driver is the fake in memory, which answers at once, so that all of the time is ours: transactions, tasks that
// wait for a worker, leases, the step ledger. And what an idle fleet costs: clusters of the fake driver that nobody changes, looked
// after by the supervisor; processor time of the worker and of Postgres over whole rounds.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { migrate } from '../dist/libs/platform/src/index.js';
import { asking, bench, cpuSeconds, familySeconds, median, program, settingsOf } from './lib/bench.mjs';

const { values } = parseArgs({
  options: {
    orders: { type: 'string', default: '300' },
    runs: { type: 'string', default: '3' },
    fleet: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '120' },
  },
});
const [ORDERS, RUNS, FLEET, SECONDS] = [values.orders, values.runs, values.fleet, values.seconds].map(Number);
const AT_ONCE = 20;
const GOALS = { p95_seconds: 1.5, idle_percent: 5 };

bench(measure);

async function measure(_, stops, postgres) {
  const secret = randomUUID() + randomUUID();
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  stops.push(() => admin.end());
  await migrate({ adminUrl: postgres.url, secret });
  console.log(`measured: orders of ${AT_ONCE} buyers at a time until their placement is active, with the fake driver, which answers at once;
          up to 8 placements share a cluster, so about one order in eight makes one
reference: the same moment in the rows: placements.created_at to placements.activated_at
postgres: ${await settingsOf(admin)}`);
  const worker = await program(stops, 'bench/lib/provision-worker.mjs', [postgres.url, secret], {});
  const ask = asking(worker);
  const order = (count) => ask(JSON.stringify({ do: 'orders', count, atOnce: AT_ONCE }));

  await order(AT_ONCE * 2);
  const runs = [];
  for (let n = 1; n <= RUNS; n += 1) {
    const from = (await admin.query('select clock_timestamp() as at')).rows[0].at;
    const { cpuSeconds: cpu } = await order(ORDERS);
    const { rows } = await admin.query(
      `select count(*)::int as n, percentile_cont(array[0.5, 0.95, 1]) within group (order by extract(epoch from activated_at - created_at)) as p,
              extract(epoch from max(activated_at) - min(created_at)) as whole from placements where created_at >= $1`,
      [from],
    );
    const [p50, p95, max] = rows[0].p;
    if (rows[0].n !== ORDERS) throw new Error(`${rows[0].n} of ${ORDERS} orders are there`);
    runs.push({ p95, own: await ownShare(admin, from) });
    console.log(
      `  run ${n}  ${ORDERS} orders in ${Number(rows[0].whole).toFixed(1)} s: median ${p50.toFixed(3)} s, p95 ${p95.toFixed(3)} s, largest ${max.toFixed(3)} s; in driver calls ${runs.at(-1).own.toFixed(3)} s of the median; ${((cpu / ORDERS) * 1e3).toFixed(1)} ms of the worker's processor each`,
    );
  }
  const figures = { p95_seconds: median(runs.map((r) => r.p95)) };

  if (FLEET > 0) {
    await ask(JSON.stringify({ do: 'fleet', count: FLEET }));
    await admin.query('analyze');
    // What the orders left behind is done by then, and the first round has begun.
    await delay(10_000);
    const since = new Date().toISOString();
    const used = () => cpuSeconds(worker.child.pid) + familySeconds(postgres.pid);
    const [cpu, began] = [used(), performance.now()];
    await delay(SECONDS * 1_000);
    const seconds = (performance.now() - began) / 1_000;
    figures.idle_percent = ((used() - cpu) / seconds) * 100;
    const { clusters } = await ask(JSON.stringify({ do: 'looked', since }));
    console.log(`\nidle fleet of ${FLEET} clusters of the fake driver: ${clusters} looked at in ${seconds.toFixed(0)} s`);
    if (clusters < Math.min(FLEET, 75 * seconds)) throw new Error('the fleet was not looked after');
  }
  console.log('');
  for (const [name, goal] of Object.entries(GOALS))
    if (figures[name] !== undefined)
      console.log(`BENCH provision ${name}=${figures[name].toFixed(2)} goal=${goal} ${figures[name] <= goal ? 'met' : 'short'}`);
  return 0;
}

/** Seconds between intent and outcome of the driver's steps, of the median operation: what is not ours. */
async function ownShare(admin, from) {
  const { rows } = await admin.query(
    `select coalesce(percentile_cont(0.5) within group (order by s), 0) as s
       from (select sum(extract(epoch from outcome_at - intent_at)) as s from operation_steps where intent_at >= $1 group by operation_id) x`,
    [from],
  );
  return Number(rows[0].s);
}
