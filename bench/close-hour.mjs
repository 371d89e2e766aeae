// npm run bench -- close-hour [--series 100000] [--hours 10] [--million 1000000]
// The clock that closes hours, on series of twelve samples each (a gauge and a counter of each purchase, every five minutes):
// one hour of all series; the same after ten hours of history; and one run over ten times the series. `--million 0` leaves the
// last out (it takes some eight minutes, most of it to make the samples). Beside it what the same rows cost Postgres alone.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { migrate } from '../dist/libs/platform/src/index.js';
import { inRoot } from '../scripts/lib/house.mjs';
import { asking, bench, familySeconds, median, program, settingsOf } from './lib/bench.mjs';
import { prepareBare, runBare } from './lib/close-hour-bare.mjs';
import { countClosed, FIRST_HOUR, makePurchases, makeSamples, HOUR } from './lib/close-hour-rig.mjs';

const { values } = parseArgs({
  options: {
    series: { type: 'string', default: '100000' },
    hours: { type: 'string', default: '10' },
    million: { type: 'string', default: '1000000' },
  },
});
const [SERIES, HOURS, MILLION] = [values.series, values.hours, values.million].map(Number);
/** Three hours with hardly any history, then as many as asked for, the last three of which are looked at. */
const LAST = HOURS + 3;
/** As the image runs it. */
const NODE_OPTIONS = /^ENV NODE_OPTIONS=(\S+)$/m.exec(readFileSync(inRoot('Dockerfile'), 'utf8'))[1];
const GOALS = { seconds_100k: 10, history_ratio: 1.1, million_ratio: 11, rss_mb: 600 };

bench(async (_, stops, postgres) => {
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  stops.push(() => admin.end());
  return measure(postgres, admin);
});

async function measure(postgres, admin) {
  await describeSetting(admin);
  const figures = {};

  await inDatabase(admin, postgres, 'many', async (house) => {
    const subscriptions = SERIES / 2;
    await makePurchases(house.db, subscriptions);
    await house.close(FIRST_HOUR);
    console.log(`\n${SERIES} series, ${LAST} hours one after another; the samples of each are there when it is closed`);
    const runs = [];
    for (let n = 0; n <= LAST; n += 1) {
      await makeSamples(house.db, n);
      const run = await house.close(FIRST_HOUR + (n + 1) * HOUR);
      await mustHaveClosed(house.db, n, SERIES);
      if (n > 0) runs.push(run);
      console.log(`  ${n === 0 ? 'warm-up' : `hour ${String(n).padStart(2)}`}  ${words(run)}`);
    }
    const seconds = (some) => median(some.map((r) => r.seconds));
    // Three hours with hardly any history, and three that have at least ten behind them.
    const [early, late] = [seconds(runs.slice(0, 3)), seconds(runs.slice(-3))];
    figures.seconds_100k = late * (100_000 / SERIES);
    figures.history_ratio = late / early;
    const last = new Date(FIRST_HOUR + LAST * HOUR);
    await prepareBare(house.db, last);
    const bare = await runBare(house.url, last);
    console.log(
      `  bare     ${bare.toFixed(1)} s: Postgres alone reads these samples and writes these rows once more, nothing is calculated`,
    );
    console.log(`  ours is ${(late / bare).toFixed(2)} times the bare rows`);
  });

  if (MILLION > 0) {
    await inDatabase(admin, postgres, 'million', async (house) => {
      console.log(`\n${MILLION} series, one hour in one run`);
      await makePurchases(house.db, MILLION / 2);
      const first = await house.close(FIRST_HOUR);
      console.log(`  series made  ${words(first)}`);
      await makeSamples(house.db, 0);
      const run = await house.close(FIRST_HOUR + HOUR);
      await mustHaveClosed(house.db, 0, MILLION);
      console.log(`  hour  1  ${words(run)}`);
      figures.million_ratio = run.seconds / (figures.seconds_100k / (100_000 / SERIES)) / (MILLION / SERIES / 10);
      figures.rss_mb = Math.max(run.rssMb, first.rssMb);
    });
  }
  console.log('');
  for (const [name, goal] of Object.entries(GOALS))
    if (figures[name] !== undefined)
      console.log(`BENCH close-hour ${name}=${figures[name].toFixed(2)} goal=${goal} ${figures[name] <= goal ? 'met' : 'short'}`);
  return 0;
}

const words = (r) =>
  `${r.seconds.toFixed(1)} s (processor: ${r.cpuSeconds.toFixed(2)} s of the worker, ${r.postgresSeconds.toFixed(2)} s of Postgres), ${r.rssMb.toFixed(0)} MB at most`;

async function inDatabase(admin, postgres, name, work) {
  await admin.query(`create database ${name}`);
  const url = Object.assign(new URL(postgres.url), { pathname: `/${name}` }).href;
  const secret = randomUUID() + randomUUID();
  await migrate({ adminUrl: url, secret });
  const db = new pg.Client({ connectionString: url });
  await db.connect();
  const stops = [];
  try {
    const worker = await program(stops, 'bench/lib/close-hour-worker.mjs', [url, secret], {
      NODE_ENV: 'production',
      NODE_OPTIONS: `${NODE_OPTIONS} ${process.env.BENCH_NODE_OPTIONS ?? ''}`,
    });
    const ask = asking(worker);
    const close = async (now) => {
      const before = familySeconds(postgres.pid);
      const run = await ask(new Date(now + 60_000).toISOString());
      return { ...run, postgresSeconds: familySeconds(postgres.pid) - before };
    };
    await work({ db, url, close });
  } finally {
    for (const one of stops) await one();
    await db.end();
    await admin.query(`drop database ${name} with (force)`);
  }
}

/** What was closed is what there was: every series once, measured, with what its samples say. */
async function mustHaveClosed(db, n, series) {
  const { closings, measured, wrong, items } = await countClosed(db, n);
  if (closings !== series || measured !== series || wrong !== 0 || items === 0)
    throw new Error(`hour ${n + 1}: ${closings} closings of ${series}, ${measured} measured, ${wrong} with a wrong amount, ${items} items`);
}

async function describeSetting(admin) {
  console.log(`measured: one worker process (${NODE_OPTIONS}) on the ops role closes what is due: samples gathered, closeHour, records, wire items, ledger,
          closings, Merkle roots, next openings, committed by shard. It lives through all hours of a run, as in production, and has
          made the series and closed one hour before one counts; its highest memory (RSS) is that of its life
postgres: ${await settingsOf(admin)}`);
}
