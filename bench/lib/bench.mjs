// What every benchmark needs: a database of its own that is as durable as in production, programs, and sums.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../dist/libs/platform/src/index.js';
import { inRoot, main } from '../../scripts/lib/house.mjs';

/** Runs `measure(folder, stops, postgres)` with a Postgres of full durability; what is in `stops` is ended afterwards, last first. */
export const bench = (measure) =>
  main(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-bench-'));
    const stops = [];
    try {
      const start = () => startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), durability: 'full' });
      let postgres = await start();
      stops.push(() => postgres.stop());
      if (process.env.BENCH_STATEMENTS) {
        await inServer(postgres.url, (db) => db.query(`alter system set shared_preload_libraries = 'pg_stat_statements'`));
        await postgres.stop();
        postgres = await start();
        // Beside what is measured: Berth does not serve from a database that holds what its roles may read beside the policies.
        const beside = Object.assign(new URL(postgres.url), { pathname: '/postgres' }).href;
        await inServer(beside, (db) => db.query('create extension pg_stat_statements'));
        stops.push(() => showStatements(beside));
      }
      return await measure(folder, stops, postgres);
    } finally {
      for (const one of stops.toReversed()) await one();
      rmSync(folder, { recursive: true, force: true });
    }
  });

async function inServer(url, work) {
  const db = new pg.Client({ connectionString: url });
  await db.connect();
  return work(db).finally(() => db.end());
}

/** BENCH_STATEMENTS=1: where Postgres spent its time, over all sides and runs together. It costs some per cent itself. */
const showStatements = (url) =>
  inServer(url, async (db) => {
    const { rows } = await db.query(
      `select coalesce(d.datname, 'dropped') as database, s.calls, s.total_exec_time as ms, s.rows, s.wal_bytes, left(regexp_replace(s.query, '\\s+', ' ', 'g'), 120) as query
         from pg_stat_statements s left join pg_database d on d.oid = s.dbid order by s.total_exec_time desc limit 20`,
    );
    console.log('\n      ms    calls     rows  wal kB  database  statement');
    for (const r of rows)
      console.log(
        [r.ms.toFixed(0).padStart(8), r.calls.padStart(8), r.rows.padStart(8), (r.wal_bytes / 1024).toFixed(0).padStart(7)].join(' ') +
          `  ${r.database.padEnd(8)}  ${r.query}`,
      );
  });

const SETTINGS = [
  'server_version',
  'fsync',
  'synchronous_commit',
  'full_page_writes',
  'wal_sync_method',
  'shared_buffers',
  'work_mem',
  'max_wal_size',
  'max_connections',
];

/** The server's settings that decide about speed, in one line. */
export async function settingsOf(db) {
  const { rows } = await db.query('select name, setting, unit from pg_settings where name = any($1) order by name', [SETTINGS]);
  return rows.map((row) => `${row.name}=${row.setting}${row.unit ?? ''}`).join(' ');
}

/** A built program with its line of readiness; what it logs is not shown but is written. */
export async function program(stops, file, args, env) {
  const child = spawn(process.execPath, [inRoot(file), ...args], {
    env: { PATH: process.env.PATH, TZ: 'UTC', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const lines = createInterface({ input: child.stdout });
  let errors = '';
  child.stderr.on('data', (chunk) => (errors = (errors + chunk).slice(-4_000)));
  stops.push(async () => {
    if (child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 20_000);
    await ended;
    clearTimeout(late);
  });
  const line = await new Promise((resolve, reject) => {
    lines.once('line', resolve);
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code}: ${errors}`)));
  });
  return { child, lines, ...JSON.parse(line) };
}

/** A program that answers each line of JSON with one. */
export const asking =
  ({ child, lines }) =>
  (question) =>
    new Promise((resolve, reject) => {
      const ended = (code) => reject(new Error(`the program ended with ${code}`));
      child.once('exit', ended);
      lines.once('line', (line) => {
        child.off('exit', ended);
        resolve(JSON.parse(line));
      });
      child.stdin.write(`${question}\n`);
    });

/** Processor seconds that a process has used, of its own. */
export function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The same of a process and all that it started, ended ones too: a database server. */
export function familySeconds(pid) {
  const stat = (one) => readFileSync(`/proc/${one}/stat`, 'utf8').split(') ')[1].split(' ').map(Number);
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  const [, , , , , , , , , , , user, system, endedUser, endedSystem] = stat(pid);
  return children.reduce((sum, child) => sum + cpuSeconds(child), (user + system + endedUser + endedSystem) / 100);
}

export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
