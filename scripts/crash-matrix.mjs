// npm run crash-matrix: kills the control plane at every step of a cluster's life, counts the machine, writes docs/crash-matrix.md.
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { bootstrap } from './bootstrap.mjs';
import { HouseError, inRoot, main, onInterrupt, run, seconds, table, terraformProgram } from './lib/house.mjs';
import { endAll, processesOfRun, signal } from './lib/processes.mjs';

const HELP = `usage: npm run crash-matrix -- [options]
  --driver <name>   local or terraform (default both)
  --moment <name>   intent, asked, within, frozen or outcome (may be given again; default all)
  --seed <n>        how far into a driver's work a kill comes (default 1)
  --lanes <n>       drivers at one time (default 2)
  --tenants <n>     instead of kills: so many tenants on a few shared cells, made, changed and removed in one run
  --no-page         do not write docs/crash-matrix.md (partial runs never do)`;

function options() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        driver: { type: 'string' },
        moment: { type: 'string', multiple: true, default: [] },
        seed: { type: 'string', default: '1' },
        lanes: { type: 'string', default: '2' },
        tenants: { type: 'string' },
        'no-page': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }));
  } catch (error) {
    throw new HouseError(`${error.message}\n${HELP}`);
  }
  for (const name of ['seed', 'lanes', 'tenants'])
    if (values[name] !== undefined && !/^[0-9]{1,6}$/.test(values[name]))
      throw new HouseError(`--${name} takes a whole number, not "${values[name]}"`);
  if (values.driver && !['local', 'terraform'].includes(values.driver)) throw new HouseError(`there is no driver "${values.driver}" here`);
  return { ...values, seed: Number(values.seed), lanes: Math.max(1, Number(values.lanes)) };
}

main(async () => {
  const o = options();
  if (o.help) return console.log(HELP);
  await bootstrap();
  const mark = [process.env.BERTH_RUN_ID, `crash-${randomBytes(8).toString('hex')}`].filter(Boolean).join('/');
  process.env.BERTH_RUN_ID = mark;
  let interrupted = false;
  onInterrupt((name) => {
    interrupted = true;
    console.log(`\n${name}: ending everything that was started`);
    // The lives go on until then, over a database and control planes that are being ended: what they say of that is no news.
    console.log = () => undefined;
    for (const lost of ['uncaughtException', 'unhandledRejection']) process.on(lost, () => undefined);
    void endEverything(mark).finally(() => process.exit(130));
  });
  const code = await play(o, mark).catch((error) => {
    if (!interrupted) throw error;
  });
  // Whatever came of it, the end is the handler's.
  return interrupted ? new Promise(() => undefined) : code;
});

/**
 * Cells of terraform carry no mark of the run, since terraform's environment is its own: they are known by the folder they lie in. Looked
 * for until there is none: what ends may have started another one at that moment.
 */
async function endEverything(mark) {
  // Without a build there is no house either.
  const { House } = await import('../crash/house.mjs').catch(() => ({ House: { folders: [] } }));
  const folders = [...House.folders];
  const there = () => {
    const found = [processesOfRun(mark), ...folders.map((folder) => processesOfRun(mark, folder))].flat();
    return [...new Map(found.map((one) => [one.pid, one])).values()];
  };
  for (let round = 0, left = there(); left.length > 0 && round < 5; round += 1, left = there()) {
    // One that was frozen would not hear that it shall end.
    for (const one of left) signal(one, 'SIGCONT');
    await endAll(left, 5_000);
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}

async function play(o, mark) {
  if (o.tenants) {
    const { playTenants } = await import('../crash/tenants.mjs');
    return playTenants({ tenants: Number(o.tenants), tell: console.log });
  }
  const { ALL, MOMENTS } = await import('../crash/strikes.mjs');
  const { HEAD, linesOf, markdown, missing } = await import('../crash/report.mjs');
  const moments = o.moment.length > 0 ? o.moment : MOMENTS;
  const unknown = moments.find((moment) => !MOMENTS.includes(moment));
  if (unknown) throw new HouseError(`there is no moment "${unknown}"; there are ${MOMENTS.join(', ')}`);
  const drivers = o.driver ? [o.driver] : ['local', 'terraform'];
  if (drivers.includes('terraform') && !terraformProgram())
    throw new HouseError('no terraform (or tofu) is on the PATH; install one, or take --driver local');

  const began = performance.now();
  console.log(`${drivers.length} driver(s), ${moments.length} life(s) each, seed ${o.seed}`);
  const rows = [];
  const waiting = [...drivers];
  const lane = async () => {
    for (let driver; (driver = waiting.shift());) rows.push(...(await playDriver(driver, moments, ALL, o.seed, began)));
  };
  await Promise.all(Array.from({ length: o.lanes }, lane));
  const left = processesOfRun(mark);
  if (left.length > 0) await endAll(left, 5_000);

  console.log(`\n${table([HEAD, ...linesOf(rows, drivers)])}\n`);
  const bad = rows.filter((row) => !row.well);
  for (const row of bad) console.log(`FAIL ${row.driver} ${row.change}/${row.step}/${row.moment}: ${row.problems.join('; ')}`);
  const whole = drivers.length === 2 && moments.length === MOMENTS.length;
  const unseen = missing(rows);
  if (whole) for (const step of unseen) console.log(`FAIL no kill hit the step ${step}`);
  if (left.length > 0) console.log(`FAIL ${left.length} process(es) were left behind`);
  if (whole && !o['no-page']) {
    const { LEASE_MS } = await import('../crash/engine.mjs');
    const { out } = await run('git', ['rev-parse', '--short', 'HEAD'], { output: 'capture', cwd: inRoot() });
    const about = {
      drivers,
      seed: o.seed,
      commit: out.trim() || 'unknown',
      seconds: (performance.now() - began) / 1_000,
      leaseMs: LEASE_MS,
    };
    writeFileSync(inRoot('docs', 'crash-matrix.md'), markdown(rows, { ...about, command: 'npm run crash-matrix' }));
    console.log('written: docs/crash-matrix.md');
  }
  console.log(`${rows.length - bad.length} of ${rows.length} kills survived (${seconds(performance.now() - began)})`);
  return bad.length > 0 || left.length > 0 || (whole && unseen.length > 0) ? 1 : 0;
}

/** A house for each life, so that one that goes wrong spoils no other. */
async function playDriver(driver, moments, all, seed, began) {
  const { House } = await import('../crash/house.mjs');
  const { playLife } = await import('../crash/life.mjs');
  const rows = [];
  for (const moment of moments) {
    const tell = (text) => console.log(`  ${seconds(performance.now() - began).padStart(8)}  ${moment.padEnd(8)} ${text}`);
    const strikes = new Set(all.filter((name) => name.endsWith(`/${moment}`)));
    const house = await House.open({
      policy: { cellCapacity: 1, shapeDrivers: { cell: 'local', 'cell-large': 'terraform' } },
      log: 'silent',
    });
    try {
      rows.push(...(await playLife(house, { driver, strikes, seed, tell })));
    } finally {
      await house.close();
    }
  }
  return rows;
}
