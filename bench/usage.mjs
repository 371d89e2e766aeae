// npm run bench -- usage [--seconds 5] [--runs 5] [--only single|batch]
// POST /api/v1/usage-events, committed before the answer: single events against a bare Fastify + pg with group commit, and
// batches of 1,000, end to end, against bare inserts without HTTP. Side by side, in turns, the same tables.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import pg from 'pg';
import { migrate } from '../dist/libs/platform/src/index.js';
import { bench, cpuSeconds, familySeconds, median, program, settingsOf } from './lib/bench.mjs';
import { inRoot } from '../scripts/lib/house.mjs';
import { sample, SOURCE } from './lib/usage-rig.mjs';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '5' }, runs: { type: 'string', default: '5' }, only: { type: 'string' } },
});
const [SECONDS, RUNS] = [values.seconds, values.runs].map(Number);
const CONNECTIONS = 50;
/** Until V8 has compiled what is hot: a control plane runs for weeks, and in its first seconds an event costs half as much again. */
const WARM_UP_SECONDS = 10;
const BATCH = { events: 1_000, connections: 4 };
const POOL = 8;
const PLACEMENTS = 250;
/** As the image runs it. */
const NODE_OPTIONS = /^ENV NODE_OPTIONS=(\S+)$/m.exec(readFileSync(inRoot('Dockerfile'), 'utf8'))[1];
const GOALS = { single: 0.8, batch: 0.6 };

bench(measure);

async function measure(folder, stops, postgres) {
  const connect = async (url) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    stops.push(() => client.end());
    return client;
  };
  const secret = randomUUID() + randomUUID();
  const admin = await connect(postgres.url);
  await admin.query('create database bare');
  const bareUrl = Object.assign(new URL(postgres.url), { pathname: '/bare' }).href;
  await migrate({ adminUrl: bareUrl, secret });
  const bareDb = await connect(bareUrl);
  await bareDb.query('select ensure_usage_day(current_date + d) from generate_series(-1, 2) d');

  const placements = Array.from({ length: PLACEMENTS }, () => randomUUID());
  const ours = await program(stops, 'dist/apps/control-plane/src/main.js', ['--role', 'api'], {
    PORT: '0',
    BERTH_DATA: join(folder, 'data'),
    BERTH_LOG: 'info',
    BERTH_SECRET: secret,
    DATABASE_URL: postgres.url,
    NODE_OPTIONS: `${NODE_OPTIONS} ${process.env.BENCH_NODE_OPTIONS ?? ''}`,
  });
  const bare = await program(stops, 'bench/lib/usage-bare.mjs', [bareUrl, String(POOL), ...placements], {});
  await bind(admin, placements);
  const authorization = `Bearer ${readFileSync(ours.operatorKeyFile, 'utf8').trim()}`;
  await describeSetting(admin, ours);
  await mustRefuse(ours.url, placements, authorization);

  const sides = {
    ours: { ...ours, db: admin, headers: { authorization } },
    bare: { ...bare, db: bareDb, headers: {} },
  };
  const next = sample(placements);
  /** What the other side still does must not count against this one. */
  const alone = async (name, work) => {
    const other = sides[name === 'ours' ? 'bare' : 'ours'];
    other.child.kill('SIGSTOP');
    try {
      const stored = async () => Number((await sides[name].db.query('select count(*) from usage_events')).rows[0].count);
      // What a run before was cut off from is stored by now.
      let before = -1;
      for (let now = await stored(); now !== before; now = await stored()) {
        before = now;
        await delay(300);
      }
      const used = () => [cpuSeconds(sides[name].child.pid), familySeconds(postgres.pid)];
      const started = used();
      const { acknowledged, seconds, cutOff } = await work(sides[name]);
      const [cpuUs, postgresUs] = used().map((now, i) => ((now - started[i]) / acknowledged) * 1e6);
      const rows = (await stored()) - before;
      if (rows < acknowledged || rows > acknowledged + cutOff) throw new Error(`${name}: ${acknowledged} acknowledged, ${rows} stored`);
      return { rate: acknowledged / seconds, cpuUs, postgresUs };
    } finally {
      other.child.kill('SIGCONT');
    }
  };
  const cannon = async ({ url, headers }, type, body, connections, seconds, perRequest) => {
    const result = await autocannon({
      url: `${url}/api/v1/usage-events`,
      connections,
      duration: seconds,
      requests: [
        { method: 'POST', setupRequest: (r) => ({ ...r, headers: { ...headers, 'content-type': type }, body: JSON.stringify(body()) }) },
      ],
    });
    const bad = result.non2xx + result.errors + result.timeouts;
    if (bad > 0) throw new Error(`${bad} of ${result.requests.total} requests failed: ${JSON.stringify(result.statusCodeStats)}`);
    // Requests cut off at the end are stored and not counted: one or two for each connection.
    return { acknowledged: result['2xx'] * perRequest, seconds: result.duration, cutOff: 2 * connections * perRequest };
  };
  const single = (side, seconds) => cannon(side, 'application/cloudevents+json', next, CONNECTIONS, seconds, 1);
  const batch = {
    ours: (side, seconds) =>
      cannon(
        side,
        'application/cloudevents-batch+json',
        () => Array.from({ length: BATCH.events }, next),
        BATCH.connections,
        seconds,
        BATCH.events,
      ),
    bare: async ({ url }, seconds) => {
      const answer = await fetch(`${url}/insert`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...BATCH, seconds }),
      });
      if (!answer.ok) throw new Error(await answer.text());
      const { done, seconds: took } = await answer.json();
      return { acknowledged: done, seconds: took, cutOff: 0 };
    },
  };

  const figures = {};
  if (values.only !== 'batch')
    figures.single = await compare(`single events, ${CONNECTIONS} connections`, alone, { ours: single, bare: single });
  if (values.only !== 'single') figures.batch = await compare(`batches of ${BATCH.events}, ${BATCH.connections} at a time`, alone, batch);
  await mustRefuse(ours.url, placements, authorization);
  console.log('');
  for (const [name, ratio] of Object.entries(figures))
    console.log(`BENCH usage ${name}_ratio=${ratio.toFixed(2)} goal=${GOALS[name]} ${ratio >= GOALS[name] ? 'met' : 'short'}`);
  return 0;
}

async function compare(title, alone, work) {
  console.log(`\n${title}: a warm-up of ${WARM_UP_SECONDS} s, then ${RUNS} runs of ${SECONDS} s each in turns`);
  const runs = { ours: [], bare: [] };
  for (const name of ['bare', 'ours']) await alone(name, (side) => work[name](side, WARM_UP_SECONDS));
  for (let run = 1; run <= RUNS; run += 1) {
    // Whoever goes first in one turn goes last in the next.
    for (const name of run % 2 ? ['bare', 'ours'] : ['ours', 'bare']) {
      const one = await alone(name, (side) => work[name](side, SECONDS));
      runs[name].push(one);
      console.log(
        `  run ${run} ${name}  ${one.rate.toFixed(0).padStart(7)} events/s  ${one.cpuUs.toFixed(0).padStart(5)} µs of its processor each, ${one.postgresUs.toFixed(0).padStart(4)} µs of the database's`,
      );
    }
  }
  const of = (name, what) => median(runs[name].map((r) => r[what]));
  const said = (name) =>
    `${name} ${of(name, 'rate').toFixed(0)}/s at ${of(name, 'cpuUs').toFixed(0)} + ${of(name, 'postgresUs').toFixed(0)} µs`;
  console.log(`medians: ${said('ours')}, ${said('bare')}`);
  return of('ours', 'rate') / of('bare', 'rate');
}

/** Each placement with its binding and its open series, as a subscription has them; nothing of it is due. */
async function bind(admin, placements) {
  await admin.query(
    `insert into usage_bindings (placement_id, tenant_id, subscription_id, source, valid_from) select p, p, p, $2, now() - interval '1 day' from unnest($1::uuid[]) p`,
    [placements, SOURCE],
  );
  await admin.query(
    `insert into series (subscription_id, meter, tenant_id, marketplace, metric, kind, source_kind, shard, first_hour, next_hour, blocked_until, state)
     select p, m, p, 'azure', m, 'counter', 'cell', 0, date_trunc('hour', now()), date_trunc('hour', now()), 'infinity', '{}'
       from unnest($1::uuid[]) p, unnest(array['stored_bytes', 'egress_bytes', 'ingress_bytes', 'requests']) m`,
    [placements],
  );
}

/** The checks are on: a wrong key, a foreign placement and a repeat are answered as they must be. */
async function mustRefuse(url, placements, authorization) {
  const post = async (event, headers) => {
    const answer = await fetch(`${url}/api/v1/usage-events`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json', ...headers },
      body: JSON.stringify(event),
    });
    return answer.ok ? (await answer.json()).results[0].outcome : answer.status;
  };
  const next = sample(placements);
  const [one, two] = [next(), next()];
  const seen = [
    await post(one, { authorization: `${authorization}x` }),
    await post({ ...one, subject: randomUUID() }, { authorization }),
    await post(one, { authorization }),
    await post(one, { authorization }),
    await post({ ...two, id: one.id }, { authorization }),
  ].join(' ');
  if (seen !== '401 rejected accepted duplicate conflict') throw new Error(`the checks are not on: ${seen}`);
}

async function describeSetting(admin, ours) {
  console.log(`measured: usage events of ${PLACEMENTS} placements and four metrics, stored in usage_dedupe and usage_events, committed, then 200
bare:     Fastify, JSON parsed, group commit of one statement; nothing is verified, no policies, superuser. Batches: the same statement
          in a loop on ${BATCH.connections} connections, without HTTP, JSON or answers
ours:     production (${NODE_OPTIONS}), role ${ours.role}: key proved (read once a second), event checked, binding found, content hashed, row-level security, late hours looked for
both:     one Postgres server, a database each with the same tables and indexes, pool of ${POOL}; the other side is stopped (SIGSTOP)
postgres: ${await settingsOf(admin)}`);
}
