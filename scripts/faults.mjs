// npm run faults: proves under faults that what was used is billed, and writes docs/fault-matrix.md.
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { bootstrap } from './bootstrap.mjs';
import { HouseError, inRoot, main, onInterrupt, redisServer, run, seconds, table } from './lib/house.mjs';
import { endAll, processesOfRun } from './lib/processes.mjs';

const HELP = `usage: npm run faults -- [options]
  --only <word>        only scenarios whose name begins with the word (may be given again)
  --subscriptions <n>  over all three marketplaces (default 100)
  --hours <n>          of business time, from 8 on (default 24)
  --seed <n>           what is used, which calls are struck and when (default 1)
  --lanes <n>          scenarios at one time (default 2)
  --short              the short form that npm test plays: one mixed scenario, 6 subscriptions, 3 hours
  --list               tell the scenarios
  --no-page            do not write docs/fault-matrix.md (partial runs never do)
  --keep               leave the folders of the installations for a look afterwards`;

const whole = (name, text, from) => {
  if (!/^\d{1,9}$/.test(text) || Number(text) < from) throw new HouseError(`--${name} takes a whole number from ${from} on, not "${text}"`);
  return Number(text);
};

function options() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        only: { type: 'string', multiple: true, default: [] },
        subscriptions: { type: 'string' },
        hours: { type: 'string' },
        seed: { type: 'string', default: '1' },
        lanes: { type: 'string', default: '2' },
        short: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
        'no-page': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }));
  } catch (error) {
    throw new HouseError(`${error.message}\n${HELP}`);
  }
  return {
    ...values,
    subscriptions: whole('subscriptions', values.subscriptions ?? (values.short ? '6' : '100'), 3),
    hours: values.short && !values.hours ? 3 : whole('hours', values.hours ?? '24', values.short ? 3 : 8),
    seed: whole('seed', values.seed, 0),
    lanes: whole('lanes', values.lanes, 1),
  };
}

main(async () => {
  const o = options();
  if (o.help) return console.log(HELP);
  await bootstrap();
  const mark = [process.env.BERTH_RUN_ID, `faults-${randomBytes(8).toString('hex')}`].filter(Boolean).join('/');
  process.env.BERTH_RUN_ID = mark;
  const { SCENARIOS, SHORT } = await import('../faults/scenarios.mjs');
  const { playScenario } = await import('../faults/play.mjs');
  const { HEAD, isGood, markdown, placesOf, rowsOf } = await import('../faults/report.mjs');
  if (o.list) {
    console.log(SCENARIOS.map(({ id, title }) => `${id.padEnd(22)}${title}`).join('\n'));
    return 0;
  }
  const chosen = o.short ? [SHORT] : SCENARIOS.filter(({ id }) => o.only.length === 0 || o.only.some((word) => id.startsWith(word)));
  if (chosen.length === 0) throw new HouseError(`no scenario begins with ${o.only.join(' or ')}; npm run faults -- --list tells them`);
  let interrupted = false;
  onInterrupt((name) => {
    interrupted = true;
    console.log(`\n${name}: ending everything that was started`);
    void endAll(processesOfRun(mark), 10_000).then(() => process.exit(130));
  });

  const began = performance.now();
  console.log(
    `${chosen.length} scenario(s), ${o.subscriptions} subscriptions, ${o.hours} hours each, seed ${o.seed}, ${o.lanes} at a time`,
  );
  const results = [];
  const waiting = [...chosen];
  const lane = async () => {
    for (let scenario; !interrupted && (scenario = waiting.shift());) {
      const from = performance.now();
      const tell = (text) => console.log(`  ${scenario.id.padEnd(20)} ${seconds(performance.now() - from).padStart(8)}  ${text}`);
      const size = { subscriptions: o.subscriptions, hours: o.hours, seed: o.seed, keep: o.keep, layout: o.short ? 'one' : 'split' };
      const result = await playScenario(scenario, { ...size, tell }).catch((error) => {
        return { id: scenario.id, title: scenario.title, failed: error.message };
      });
      results[chosen.indexOf(scenario)] = result;
      for (const row of rowsOf(result)) console.log(`${isGood(result) ? 'ok  ' : 'FAIL'} ${row.join('  ')}`);
      for (const place of isGood(result) ? [] : placesOf(result)) console.log(`       ${place}`);
    }
  };
  await Promise.all(Array.from({ length: o.lanes }, lane));
  const left = processesOfRun(mark);
  if (left.length > 0) await endAll(left, 5_000);

  const took = (performance.now() - began) / 1000;
  console.log(`\n${table([HEAD, ...results.flatMap(rowsOf)])}\n`);
  if (chosen.length === SCENARIOS.length && !o['no-page']) {
    const { out } = await run('git', ['rev-parse', '--short', 'HEAD'], { output: 'capture', cwd: inRoot() });
    const page = {
      seed: o.seed,
      commit: out.trim() || 'unknown',
      seconds: took,
      command: 'npm run faults',
      redis: redisServer() !== undefined,
    };
    writeFileSync(inRoot('docs', 'fault-matrix.md'), markdown(results, page));
    console.log('written: docs/fault-matrix.md');
  }
  const bad = results.filter((result) => !isGood(result));
  console.log(
    `${results.length - bad.length} of ${results.length} scenarios without silent loss and without double (${seconds(took * 1000)})`,
  );
  return bad.length > 0 ? 1 : 0;
});
