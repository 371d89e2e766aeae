// npm run bench -- history [--purchases 200] [--times 10]
// What is done every minute must cost what it is about, not what lies behind it: submission (processor time of its process and of
// Postgres for each record) and what people ask for, in a house with a day of closed and accepted hours, and with ten times that.
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { migrate } from '../dist/libs/platform/src/index.js';
import { asking, bench, familySeconds, median, program, settingsOf } from './lib/bench.mjs';
import { FIRST_HOUR, HOUR, makePurchases, makeSamples } from './lib/close-hour-rig.mjs';
import { acceptAll, closeUntil, openReads } from './lib/history-rig.mjs';
import { makeShop, seedPurchases, seedRecords } from './lib/submit-rig.mjs';

const { values } = parseArgs({ options: { purchases: { type: 'string', default: '200' }, times: { type: 'string', default: '10' } } });
const [PURCHASES, TIMES] = [values.purchases, values.times].map(Number);
const DAY = 24;
const RUNS = 9;
/** Of quick reads the difference is noise: what is below counts as this. */
const FLOOR_MS = 5;
const GOALS = { submit_ratio: 1.2, reads_ratio: 2 };

bench(measure);

async function measure(_, stops, postgres) {
  const secret = randomUUID() + randomUUID();
  await migrate({ adminUrl: postgres.url, secret });
  const db = new pg.Client({ connectionString: postgres.url });
  await db.connect();
  stops.push(() => db.end());
  console.log(`measured: ${PURCHASES} purchases with two series, a day of hours behind them, then ${TIMES}; submission with one worker process to the sandbox
postgres: ${await settingsOf(db)}`);
  const shop = await makeShop(stops, PURCHASES);
  await seedPurchases(db, shop.ids);
  await makePurchases(db, PURCHASES);
  const house = { url: postgres.url, secret };
  const close = asking(await program(stops, 'bench/lib/close-hour-worker.mjs', [house.url, secret], {}));
  await closeUntil(close, db, FIRST_HOUR);
  const worker = await program(stops, 'bench/lib/submit-worker.mjs', [house.url, secret, shop.url, shop.now, shop.seller], {});
  const send = asking(worker);
  const reads = await openReads(stops, house);

  let hours = 0;
  /** Hours of the shop that were not sent yet, counted back from the newest. */
  let fresh = 0;
  /** Day by day, as it goes: what is accepted late lies far from its hour. */
  const live = async (until) => {
    while (hours < until) {
      for (let n = 0; n < DAY; n += 1, hours += 1) await makeSamples(db, hours, n === DAY - 1);
      await closeUntil(close, db, FIRST_HOUR + hours * HOUR);
      await acceptAll(db);
      await db.query('vacuum analyze');
    }
    await db.query('checkpoint');
  };
  const submit = async () => {
    const made = await seedRecords(db, shop, [fresh, fresh + 1, fresh + 2, fresh + 3]);
    fresh += 4;
    const before = familySeconds(postgres.pid);
    const { cpuSeconds } = await send('{}');
    return ((cpuSeconds + familySeconds(postgres.pid) - before) / made.length) * 1e6;
  };

  await live(DAY);
  await submit();
  const young = { submit: await submit(), reads: await reads(db, hours, RUNS) };
  await live(DAY * TIMES);
  await submit();
  const old = { submit: await submit(), reads: await reads(db, hours, RUNS) };

  const { rows } = await db.query(
    `select (select count(*) from hour_closings)::int as closings, (select count(*) from submission_items)::int as items, (select count(*) from submission_attempts)::int as attempts`,
  );
  console.log(`\nbehind it at the end: ${rows[0].closings} closings, ${rows[0].items} items, ${rows[0].attempts} attempts`);
  console.log(`submission: ${young.submit.toFixed(0)} µs a record, then ${old.submit.toFixed(0)}`);
  const worst = { ratio: 0 };
  for (const [name, times] of Object.entries(young.reads)) {
    const [a, b] = [median(times), median(old.reads[name])];
    const ratio = Math.max(b, FLOOR_MS) / Math.max(a, FLOOR_MS);
    if (ratio > worst.ratio) worst.ratio = ratio;
    console.log(`  ${name.padEnd(42)} ${a.toFixed(1).padStart(7)} ms, then ${b.toFixed(1).padStart(7)} ms`);
  }
  console.log('');
  const figures = { submit_ratio: old.submit / young.submit, reads_ratio: worst.ratio };
  for (const [name, goal] of Object.entries(GOALS))
    console.log(`BENCH history ${name}=${figures[name].toFixed(2)} goal=${goal} ${figures[name] <= goal ? 'met' : 'short'}`);
  return 0;
}
