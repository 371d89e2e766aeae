// npm run bench -- webhooks [--seconds 5] [--runs 5] [--paced 40]
// POST /webhooks/azure, acknowledged durably, against a bare Fastify + pg with one insert: side by side, in turns.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import pg from 'pg';
import { bench, median, program, settingsOf } from './lib/bench.mjs';
import { CLIENT, entra, messages, paced, SECRET, TENANT } from './lib/webhooks-rig.mjs';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '5' }, runs: { type: 'string', default: '5' }, paced: { type: 'string', default: '40' } },
});
const [SECONDS, RUNS, PACED] = [values.seconds, values.runs, values.paced].map(Number);
const CONNECTIONS = 50;
const RATE = 200;
/** Of the role that stores webhooks: libs/platform/src/db/database.ts. */
const POOL = 8;
const PURCHASES = 20;

bench(measure);

async function measure(folder, stops, postgres) {
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  stops.push(() => admin.end());
  await admin.query('create database bare');
  const bareUrl = Object.assign(new URL(postgres.url), { pathname: '/bare' }).href;
  const bareDb = new pg.Client({ connectionString: bareUrl });
  await bareDb.connect();
  stops.push(() => bareDb.end());
  await bareDb.query('create table hooks (id uuid primary key, body text not null, received_at timestamptz not null default now())');

  const sandbox = await program(stops, 'dist/apps/marketplace-sandbox/src/main.js', [], { SANDBOX_PORT: '0' });
  const authority = await entra(stops, sandbox.url);
  const ours = await program(stops, 'dist/apps/control-plane/src/main.js', ['--role', 'all'], {
    PORT: '0',
    BERTH_DATA: join(folder, 'data'),
    BERTH_LOG: 'info',
    DATABASE_URL: postgres.url,
    // Production: no sandbox's clock. The endpoints alone lead to this machine.
    AZURE_MARKETPLACE_URL: `${sandbox.url}/azure/api`,
    AZURE_AUTHORITY_URL: authority.url,
    AZURE_TENANT_ID: TENANT,
    AZURE_CLIENT_ID: CLIENT,
    AZURE_CLIENT_SECRET: SECRET,
  });
  const bare = await program(stops, 'bench/lib/webhooks-bare.mjs', [bareUrl, String(POOL)], {});

  const purchases = [];
  for (let i = 0; i < PURCHASES; i += 1) {
    const answer = await fetch(`${sandbox.url}/sandbox/azure/purchases`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ offerId: 'object-cells', planId: 'standard' }),
    });
    purchases.push((await answer.json()).subscriptionId);
  }

  await describeSetting(admin, ours);
  const next = messages(purchases, authority.tokens);
  await mustRefuse(ours.url, next, authority);

  const rates = { ours: [], bare: [] };
  const sides = { ours, bare };
  const load = async (name, seconds) => {
    const other = name === 'ours' ? bare : ours;
    // What the other side still does must not count against this one.
    other.child.kill('SIGSTOP');
    try {
      const before = await stored(name);
      const result = await cannon(sides[name].url, next, { duration: seconds });
      const rows = (await stored(name)) - before;
      honest(name, result, rows);
      return result;
    } finally {
      other.child.kill('SIGCONT');
    }
  };
  const stored = async (name) =>
    Number(
      (name === 'ours' ? await admin.query('select count(*) from inbox') : await bareDb.query('select count(*) from hooks')).rows[0].count,
    );

  // On a fresh system and longer than the worker steps back in a burst (30 s), so that both of its gaits are in the number.
  console.log(
    `\n${RATE} requests/s at even steps for ${PACED} s, at most ${CONNECTIONS} connections (bare: 5 s, for comparison); latency from the moment a request is due`,
  );
  const pace = async (name, seconds) => {
    const other = name === 'ours' ? bare : ours;
    other.child.kill('SIGSTOP');
    try {
      const before = await stored(name);
      const result = await paced(sides[name].url, next, { rate: RATE, seconds, connections: CONNECTIONS });
      const rows = (await stored(name)) - before;
      if (result.statuses[200] !== result.done || rows !== result.done)
        throw new Error(`${name}: ${result.done} answered, ${rows} stored: ${JSON.stringify(result.statuses)}`);
      const { p50, p99, max } = result;
      return { p99, text: `  ${name}  ${result.perSecond.toFixed(0)}/s  p50 ${p50} ms  p99 ${p99} ms  max ${max} ms` };
    } finally {
      other.child.kill('SIGCONT');
    }
  };
  for (const name of ['bare', 'ours']) await pace(name, 3);
  console.log((await pace('bare', 5)).text);
  const steady = await pace('ours', PACED);
  console.log(`${steady.text}; ${await backlog(admin)} messages wait for the worker`);
  const p99 = steady.p99;

  console.log(`\nwarm-up, then ${RUNS} runs of ${SECONDS} s each in turns, ${CONNECTIONS} connections`);
  for (const name of ['bare', 'ours']) await load(name, 3);
  for (let run = 1; run <= RUNS; run += 1) {
    // Whoever goes first in one turn goes last in the next.
    for (const name of run % 2 ? ['bare', 'ours'] : ['ours', 'bare']) {
      const result = await load(name, SECONDS);
      rates[name].push(result['2xx'] / result.duration);
      console.log(
        `  run ${run} ${name}  ${(result['2xx'] / result.duration).toFixed(0).padStart(6)}/s  p50 ${result.latency.p50} ms  p99 ${result.latency.p99} ms`,
      );
    }
  }
  const left = await backlog(admin);
  const ratio = median(rates.ours) / median(rates.bare);
  console.log(
    `medians: ours ${median(rates.ours).toFixed(0)}/s, bare ${median(rates.bare).toFixed(0)}/s; ${left} messages wait for the worker`,
  );

  await mustRefuse(ours.url, next, authority);

  console.log(`\nBENCH webhooks ratio=${ratio.toFixed(2)} goal=0.8 ${ratio >= 0.8 ? 'met' : 'short'}`);
  console.log(`BENCH webhooks p99_ms=${p99} goal=50 ${p99 <= 50 ? 'met' : 'short'}`);
  return 0;
}

function cannon(url, next, options) {
  return autocannon({
    url: `${url}/webhooks/azure`,
    connections: CONNECTIONS,
    ...options,
    requests: [
      {
        method: 'POST',
        setupRequest: (request) => {
          const { token, body } = next();
          return { ...request, headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }, body };
        },
      },
    ],
  });
}

/** A number only counts if every answer was a 200 and every 200 is a row. Requests cut off at the end are stored and not counted: one or two for each connection. */
function honest(name, result, rows) {
  const bad = result.non2xx + result.errors + result.timeouts;
  if (bad > 0) throw new Error(`${name}: ${bad} of ${result.requests.total} requests failed: ${JSON.stringify(result.statusCodeStats)}`);
  if (rows < result['2xx'] || rows > result['2xx'] + 2 * CONNECTIONS)
    throw new Error(`${name}: ${result['2xx']} acknowledged, ${rows} stored`);
}

/** The checks are on: forged, foreign and expired tokens are refused. */
async function mustRefuse(url, next, authority) {
  const good = next();
  const [head, claims] = good.token.split('.');
  const wrong = {
    forged: `${head}.${claims}.${'A'.repeat(342)}`,
    foreign: authority.token({ aud: randomUUID() }),
    expired: authority.token({ exp: 1_700_000_000 }),
  };
  for (const [what, token] of Object.entries(wrong)) {
    const { status } = await fetch(`${url}/webhooks/azure`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: good.body,
    });
    if (status !== 401 && status !== 403) throw new Error(`a ${what} token was answered ${status}`);
  }
}

async function describeSetting(admin, ours) {
  console.log(`measured: action Renew (wants no decision): verified, stored in the inbox with its task, committed, then 200
bare:     Fastify, JSON parsed, one insert, committed, then 200; nothing is verified
ours:     production, role ${ours.role} (api and worker in one process: while requests come the worker re-reads each purchase at the
          marketplace and folds it), queue ${ours.queue}, log level info
both:     one Postgres server, a database each, pool of ${POOL}; the other side is stopped (SIGSTOP) during a run
postgres: ${await settingsOf(admin)}`);
}

const backlog = async (admin) =>
  Number((await admin.query("select count(*) from tasks where state <> 'done' and handler = 'inbound.normalise'")).rows[0].count);
