// npm run bench -- submit [--records 100000] [--runs 5]
// Sending usage records to Azure's sandbox: ours (claim, intent, call, outcome, ledger, committed) against the bare loop a seller
// would write, which reads the prepared wire items from the same table, sends them with undici, and stores each answer with its
// item: set-based, a commit for each batch. The same batches of 25, as many at once. The ratio's reference is this loop, since
// who sends without storing what was accepted must send everything again after a crash; what the same loop does with the records
// in memory, storing nothing, is printed beside it (bare_no_store). In turns, each with a sandbox and a database of its own.
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { migrate } from '../dist/libs/platform/src/index.js';
import { asking, bench, cpuSeconds, familySeconds, median, program, settingsOf } from './lib/bench.mjs';
import { billedCount, DIMENSIONS, makeShop, seedPurchases, seedRecords } from './lib/submit-rig.mjs';

const { values } = parseArgs({ options: { records: { type: 'string', default: '100000' }, runs: { type: 'string', default: '5' } } });
const [RECORDS, RUNS] = [values.records, values.runs].map(Number);
/** What ours has under way at a marketplace that answers (libs/metering, `BATCHES_AT_ONCE`). */
const AT_ONCE = 4;
const HOURS = 20;
const GOAL = 0.7;

bench(measure);

const SIDES = ['ours', 'bare', 'bare_no_store'];

async function measure(folder, stops, postgres) {
  const secret = randomUUID() + randomUUID();
  const connect = async (url) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    stops.push(() => client.end());
    return client;
  };
  const admin = await connect(postgres.url);
  await admin.query('create database bare');
  const bareUrl = Object.assign(new URL(postgres.url), { pathname: '/bare' }).href;
  for (const url of [postgres.url, bareUrl]) await migrate({ adminUrl: url, secret });
  const dbs = { ours: admin, bare: await connect(bareUrl), bare_no_store: null };
  await describeSetting(admin);

  // A run of each side has hours of its own, so nothing is a duplicate; the warm-up has one too.
  const hoursPerRun = Math.max(1, Math.floor(HOURS / (RUNS + 1)));
  const perRun = Math.ceil(RECORDS / RUNS);
  const purchases = Math.ceil(perRun / (DIMENSIONS.length * hoursPerRun));
  const shops = {};
  for (const name of SIDES) shops[name] = await makeShop(stops, purchases);
  console.log(`${purchases} purchases in each sandbox, ${DIMENSIONS.length} dimensions, ${hoursPerRun} hours a run`);
  for (const name of SIDES) if (dbs[name]) await seedPurchases(dbs[name], shops[name].ids);
  const ours = [postgres.url, secret, shops.ours.url, shops.ours.now, shops.ours.seller];
  const bare = (name) => [shops[name].url, shops[name].seller, String(AT_ONCE)];
  const nodeOptions = process.env.BENCH_NODE_OPTIONS ? { NODE_OPTIONS: process.env.BENCH_NODE_OPTIONS } : {};
  const programs = {
    ours: await program(stops, 'bench/lib/submit-worker.mjs', ours, nodeOptions),
    bare: await program(stops, 'bench/lib/submit-bare.mjs', [...bare('bare'), bareUrl], {}),
    bare_no_store: await program(stops, 'bench/lib/submit-bare.mjs', bare('bare_no_store'), {}),
  };
  const ask = Object.fromEntries(SIDES.map((name) => [name, asking(programs[name])]));

  const sent = Object.fromEntries(SIDES.map((name) => [name, 0]));
  const run = async (name, hours) => {
    const others = SIDES.filter((other) => other !== name).flatMap((other) => [programs[other].child, shops[other].child]);
    for (const one of others) one.kill('SIGSTOP');
    try {
      const made = await seedRecords(dbs[name], shops[name], hours);
      const before = { postgres: familySeconds(postgres.pid), sandbox: cpuSeconds(shops[name].child.pid) };
      const { seconds, cpuSeconds: node } = await ask[name](dbs[name] ? '{}' : JSON.stringify(made));
      const of = {
        node,
        postgres: familySeconds(postgres.pid) - before.postgres,
        sandbox: cpuSeconds(shops[name].child.pid) - before.sandbox,
      };
      sent[name] += made.length;
      const billed = await billedCount(shops[name]);
      if (billed !== sent[name]) throw new Error(`${name}: ${sent[name]} records sent, ${billed} billed`);
      return {
        rate: made.length / seconds,
        us: Object.fromEntries(Object.entries(of).map(([who, s]) => [who, Math.round((s / made.length) * 1e6)])),
      };
    } finally {
      for (const one of others) one.kill('SIGCONT');
    }
  };
  const slice = (n) => Array.from({ length: hoursPerRun }, (_, i) => n * hoursPerRun + i);
  console.log(
    `\nwarm-up, then ${RUNS} runs of ${purchases * DIMENSIONS.length * hoursPerRun} records each in turns, ${AT_ONCE} batches at once; µs of processor for each record`,
  );
  for (const name of SIDES) await run(name, slice(0));
  const runs = Object.fromEntries(SIDES.map((name) => [name, []]));
  for (let n = 1; n <= RUNS; n += 1)
    for (const name of n % 2 ? SIDES : SIDES.toReversed()) {
      const one = await run(name, slice(n));
      runs[name].push(one);
      console.log(
        `  run ${n} ${name.padEnd(13)}  ${one.rate.toFixed(0).padStart(6)} records/s  its process ${one.us.node}, postgres ${one.us.postgres}, sandbox ${one.us.sandbox}`,
      );
    }
  for (const name of SIDES) if (dbs[name]) await mustBeStored(name, dbs[name], sent[name]);
  const of = (name, what) => median(runs[name].map(what));
  for (const name of SIDES)
    console.log(
      `median ${name.padEnd(13)}  ${of(name, (r) => r.rate)
        .toFixed(0)
        .padStart(
          6,
        )} records/s  its process ${of(name, (r) => r.us.node)}, postgres ${of(name, (r) => r.us.postgres)}, sandbox ${of(name, (r) => r.us.sandbox)}`,
    );
  const ratioTo = (name) => of('ours', (r) => r.rate) / of(name, (r) => r.rate);
  const ratio = ratioTo('bare');
  console.log(
    `\nBENCH submit ratio=${ratio.toFixed(2)} goal=${GOAL} ${ratio >= GOAL ? 'met' : 'short'} bare_no_store=${ratioTo('bare_no_store').toFixed(2)}`,
  );
  return 0;
}

/** A loop that drops what it should store would be quick. */
async function mustBeStored(name, db, sent) {
  const { rows } = await db.query(
    `select count(*)::int as items, count(*) filter (where state = 'accepted' and receipt is not null and settled_at is not null)::int as accepted,
            (select count(*) from ledger_entries where term = 'accepted')::int as booked, (select count(*) from submission_attempts where outcome = 'accepted')::int as attempts,
            (select count(*) from calls where outcome_at is null)::int as open_calls from submission_items`,
  );
  const is = name === 'ours' ? rows[0] : { items: rows[0].items, accepted: rows[0].accepted };
  const { open_calls: open = 0, ...counts } = is;
  if (open > 0 || Object.values(counts).some((n) => n !== sent))
    throw new Error(`${name}: not everything is accepted and stored: ${JSON.stringify(is)} of ${sent}`);
}

async function describeSetting(db) {
  console.log(`measured: one worker process sends what waits: by deadline, intent committed before each call, outcome and ledger after it
bare:     a loop that reads the same items, sends them and stores each answer with its item, a commit for each batch
no store: the same loop with the records in memory; nothing is stored before or after
all:      batches of 25 to a sandbox of their own that throttles nobody; the others are stopped (SIGSTOP)
postgres: ${await settingsOf(db)}`);
}
