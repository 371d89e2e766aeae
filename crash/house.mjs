// A database, two control planes on it, and the hands that hold a step at a moment, kill and freeze.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { inRoot } from '../scripts/lib/house.mjs';
import { migrate, startEmbeddedPostgres } from '../dist/libs/platform/src/index.js';
import { openEngine } from './engine.mjs';
import { actedTwice, cellsIn, processesIn } from './count.mjs';

const KEY = 4_711;
const WAITS = `l.locktype = 'advisory' and l.objid = ${KEY} and not l.granted and l.database = (select oid from pg_database where datname = current_database())`;
/** Where a control plane can be held: its transaction waits for us, and the database tells whose it is. */
const HOLD = `
  create schema crash;
  create table crash.point (step text not null, moment text not null);
  create function crash.hold() returns trigger language plpgsql security definer as $$
  declare at text;
  begin
    at := case when tg_op = 'INSERT' then 'intent'
               when new.outcome_at is not null and old.outcome_at is null then 'outcome'
               when new.attempts > old.attempts then 'asked' end;
    if at is not null and exists (select 1 from crash.point p where p.step = new.name and p.moment = at) then
      perform pg_advisory_xact_lock_shared(${KEY});
    end if;
    return new;
  end $$;
  create trigger crash_hold before insert or update on operation_steps for each row execute function crash.hold();`;

export class House {
  /** Of the houses that stand. */
  static folders = new Set();
  #stops = [];
  #workers = [];
  #since = new Map();
  #frozen = [];
  /** Seen while it ran: clusters with two cells, or with two builders at once. */
  doubled = new Set();

  static async open({ policy = {}, workers = 2, databaseUrl, secret, log = 'error' } = {}) {
    const house = new House();
    house.folder = mkdtempSync(join(tmpdir(), 'berth-crash-'));
    House.folders.add(house.folder);
    // The embedded Postgres may run as another user and must be able to pass through.
    chmodSync(house.folder, 0o711);
    try {
      await house.#begin({ policy, workers, url: databaseUrl, secret, log });
    } catch (error) {
      await house.close();
      throw error;
    }
    return house;
  }

  async #begin({ policy, workers, url, secret = randomBytes(32).toString('hex'), log }) {
    if (!url) {
      const postgres = await startEmbeddedPostgres({ dataDir: join(this.folder, 'postgres'), durability: 'relaxed' });
      this.#stops.push(() => postgres.stop());
      url = postgres.url;
    }
    this.dataDir = join(this.folder, 'berth');
    this.given = { url, secret, dataDir: this.dataDir, policy, log };
    await migrate({ adminUrl: url, secret });
    this.sql = new pg.Client({ connectionString: url });
    await this.sql.connect();
    this.#stops.push(() => this.sql.end());
    await this.sql.query(HOLD);
    await this.sql.query('select pg_advisory_lock($1)', [KEY]);
    Object.assign(this, await openEngine(this.given, { policy, log }));
    this.#stops.push(
      () => this.drivers.shutdown(),
      () => this.db.close(),
    );
    await this.#fill(workers);
    const watch = setInterval(() => this.#look(), 100);
    this.#stops.push(() => clearInterval(watch));
  }

  #look() {
    const processes = processesIn(this.dataDir);
    const cells = cellsIn(processes);
    const now = [
      ...new Set(cells.filter((one, i) => cells.indexOf(one) !== i).map((name) => `two cells of ${name}`)),
      ...actedTwice(processes).map((name) => `two runs that write ${name}`),
    ];
    // A cell that finds the ports taken ends by itself before it touches a file; that takes it a moment.
    const at = performance.now();
    this.#since = new Map(now.map((what) => [what, this.#since.get(what) ?? at]));
    for (const [what, since] of this.#since) if (at - since > 3_000) this.doubled.add(what);
  }

  /** Rows of the test's own look at the ledger: where a step stands, never whether all is well. */
  async rows(text, values) {
    return (await this.sql.query(text, values)).rows;
  }

  // ---- control planes

  async #fill(count) {
    await Promise.all(Array.from({ length: Math.max(0, count - this.#workers.length) }, () => this.#start()));
  }

  async #start() {
    const child = spawn(process.execPath, [inRoot('crash/worker.mjs')], {
      env: { PATH: process.env.PATH, TZ: 'UTC', CRASH_WORKER: JSON.stringify(this.given), BERTH_RUN_ID: process.env.BERTH_RUN_ID ?? '' },
      stdio: ['ignore', 'pipe', this.given.log === 'silent' ? 'ignore' : 'inherit'],
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const worker = { child, ended };
    this.#workers.push(worker);
    child.once('exit', () => (this.#workers = this.#workers.filter((one) => one !== worker)));
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('exit', (code) => reject(new Error(`a control plane ended with ${code} before it was ready`)));
    });
  }

  async #kill(workers) {
    for (const { child } of workers) child.kill('SIGKILL');
    await Promise.all(workers.map(({ ended }) => ended));
  }

  /** The control plane that is held at this moment of this step is killed; another one goes on, and a new one comes. */
  async killHeld(waiter) {
    const [worker] = this.#workers.filter(({ child }) => hasPort(child.pid, waiter.client_port));
    if (!worker) throw new Error('nobody of ours is held');
    await this.#kill([worker]);
    // What a database does when it finds its client gone: the transaction is taken back.
    await this.sql.query('select pg_terminate_backend($1)', [waiter.pid]);
    await this.#fill(2);
  }

  /** All of them at once, as a power cut. */
  async killAll() {
    await this.#kill([...this.#workers]);
    await this.#forget();
    await this.#fill(2);
  }

  /** All stand still; new ones take over. What is answered wakes the old ones, lets them try for a while, and ends them. */
  async freezeAll() {
    const frozen = this.#workers;
    this.#workers = [];
    this.#frozen.push(...frozen);
    for (const { child } of frozen) child.kill('SIGSTOP');
    await sleep(100);
    await this.#forget();
    // A transaction of theirs that is open would hold the cluster for as long as its time-out.
    await this.sql.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction' and client_port = any($1)`,
      [frozen.flatMap(({ child }) => portsOf(child.pid))],
    );
    await this.#fill(2);
    return async () => {
      for (const { child } of frozen) child.kill('SIGCONT');
      await sleep(1_500);
      await this.#kill(frozen);
    };
  }

  /** Whoever was held when its control plane was ended: the database has lost its client. */
  #forget() {
    return this.sql.query(`select pg_terminate_backend(pid) from pg_locks l where ${WAITS}`);
  }

  // ---- moments

  arm = (step, moment) => this.sql.query('insert into crash.point values ($1, $2)', [step, moment]);

  /** Waits until somebody stands there; `over` ends the wait when nobody will. */
  async held(over) {
    for (const until = performance.now() + 90_000; ;) {
      if (performance.now() > until) throw new Error('nobody came to that moment, and the change did not end');
      const [waiter] = await this.rows(
        `select a.pid, a.client_port from pg_locks l join pg_stat_activity a using (pid) where ${WAITS}`,
        [],
      );
      if (waiter) {
        await this.sql.query('delete from crash.point');
        return waiter;
      }
      if (await over()) {
        await this.sql.query('delete from crash.point');
        return undefined;
      }
      await sleep(5);
    }
  }

  /** Lets whoever is held go on. */
  async release(waiter) {
    await this.sql.query('select pg_advisory_unlock($1)', [KEY]);
    for (;;) {
      const [still] = await this.rows(`select 1 from pg_locks l where ${WAITS} and pid = $1`, [waiter.pid]);
      if (!still) break;
    }
    await this.sql.query('select pg_advisory_lock($1)', [KEY]);
  }

  async close() {
    await this.#kill([...this.#workers, ...this.#frozen]);
    for (const stop of this.#stops.toReversed()) await stop();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
    House.folders.delete(this.folder);
  }
}

/** Local ports of a process's TCP connections (Linux). */
function portsOf(pid) {
  const inodes = new Set();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      inodes.add(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1]);
    } catch {
      // closed in between
    }
  }
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[9] !== undefined && inodes.has(fields[9]))
      .map((fields) => parseInt(fields[1].split(':')[1], 16)),
  );
}
const hasPort = (pid, port) => portsOf(pid).includes(port);
