// npm run bench -- submit [--records 100000] [--runs 5]
// Sending usage records to Azure's sandbox: ours (claim, intent, call, outcome, ledger, committed) against a loop that has the
// records in memory and stores nothing; the same batches of 25, as many at once. In turns, each side with a sandbox of its own.
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { migrate } from '../dist/libs/platform/src/index.js';
import { asking, bench, median, program, settingsOf } from './lib/bench.mjs';
import { billedCount, DIMENSIONS, makeShop, seedPurchases, seedRecords } from './lib/submit-rig.mjs';

const { values } = parseArgs({ options: { records: { type: 'string', default: '100000' }, runs: { type: 'string', default: '5' } } });
const [RECORDS, RUNS] = [values.records, values.runs].map(Number);
/** What ours has under way at a marketplace that answers (libs/metering, `BATCHES_AT_ONCE`). */
const AT_ONCE = 4;
const HOURS = 20;
const GOAL = 0.7;

bench(measure);

async function measure(folder, stops, postgres) {
  const secret = randomUUID() + randomUUID();
  await migrate({ adminUrl: postgres.url, secret });
  const db = new pg.Client({ connectionString: postgres.url });
  await db.connect();
  stops.push(() => db.end());
  await describeSetting(db);

  // A run of each side has hours of its own, so nothing is a duplicate; the warm-up has one too.
  const hoursPerRun = Math.max(1, Math.floor(HOURS / (RUNS + 1)));
  const perRun = Math.ceil(RECORDS / RUNS);
  const purchases = Math.ceil(perRun / (DIMENSIONS.length * hoursPerRun));
  const shops = { ours: await makeShop(stops, purchases), bare: await makeShop(stops, purchases) };
  console.log(`${purchases} purchases in each sandbox, ${DIMENSIONS.length} dimensions, ${hoursPerRun} hours a run`);
  await seedPurchases(db, shops.ours.ids);
  const programs = {
    ours: await program(
      stops,
      'bench/lib/submit-worker.mjs',
      [postgres.url, secret, shops.ours.url, shops.ours.now, shops.ours.seller],
      process.env.BENCH_NODE_OPTIONS ? { NODE_OPTIONS: process.env.BENCH_NODE_OPTIONS } : {},
    ),
    bare: await program(stops, 'bench/lib/submit-bare.mjs', [shops.bare.url, shops.bare.seller, String(AT_ONCE)], {}),
  };
  const ask = { ours: asking(programs.ours), bare: asking(programs.bare) };

  const go = {
    ours: async (hours) => {
      const made = await seedRecords(db, shops.ours, hours);
      return { ...(await ask.ours('{}')), records: made.length };
    },
    bare: async (hours) => {
      const made = await seedRecords(null, shops.bare, hours);
      return { ...(await ask.bare(JSON.stringify(made))), records: made.length };
    },
  };
  const sent = { ours: 0, bare: 0 };
  const run = async (name, hours) => {
    const other = name === 'ours' ? 'bare' : 'ours';
    for (const one of [programs[other].child, shops[other].child]) one.kill('SIGSTOP');
    try {
      const { seconds, cpuSeconds, records } = await go[name](hours);
      sent[name] += records;
      const billed = await billedCount(shops[name]);
      if (billed !== sent[name]) throw new Error(`${name}: ${sent[name]} records sent, ${billed} billed`);
      return { rate: records / seconds, cpuUs: (cpuSeconds / records) * 1e6 };
    } finally {
      for (const one of [programs[other].child, shops[other].child]) one.kill('SIGCONT');
    }
  };
  const slice = (n) => Array.from({ length: hoursPerRun }, (_, i) => n * hoursPerRun + i);
  console.log(
    `\nwarm-up, then ${RUNS} runs of ${purchases * DIMENSIONS.length * hoursPerRun} records each in turns, ${AT_ONCE} batches at once`,
  );
  for (const name of ['bare', 'ours']) await run(name, slice(0));
  const runs = { ours: [], bare: [] };
  for (let n = 1; n <= RUNS; n += 1)
    for (const name of n % 2 ? ['bare', 'ours'] : ['ours', 'bare']) {
      const one = await run(name, slice(n));
      runs[name].push(one);
      console.log(
        `  run ${n} ${name}  ${one.rate.toFixed(0).padStart(6)} records/s  ${one.cpuUs.toFixed(0).padStart(4)} µs of its processor each`,
      );
    }
  const { rows } = await db.query(
    `select (select count(*) from submission_items where state = 'accepted')::int as accepted, (select count(*) from submission_items)::int as items,
            (select count(*) from ledger_entries where term = 'accepted')::int as booked, (select count(*) from calls where outcome_at is not null)::int as calls`,
  );
  if (rows[0].accepted !== sent.ours || rows[0].items !== sent.ours || rows[0].booked !== sent.ours)
    throw new Error(`not everything is accepted and booked: ${JSON.stringify(rows[0])} of ${sent.ours}`);
  const of = (name) => median(runs[name].map((r) => r.rate));
  const ratio = of('ours') / of('bare');
  console.log(
    `medians: ours ${of('ours').toFixed(0)}/s, bare ${of('bare').toFixed(0)}/s; ${rows[0].calls} calls of ours with intent and outcome`,
  );
  console.log(`\nBENCH submit ratio=${ratio.toFixed(2)} goal=${GOAL} ${ratio >= GOAL ? 'met' : 'short'}`);
  return 0;
}

async function describeSetting(db) {
  console.log(`measured: one worker process sends what waits: by deadline, intent committed before each call, outcome and ledger after it
bare:     a loop with the records in memory; nothing is stored before or after
both:     batches of 25 to a sandbox of their own that throttles nobody; the other side is stopped (SIGSTOP)
postgres: ${await settingsOf(db)}`);
}
