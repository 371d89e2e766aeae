// One installation of its own for a scenario: Postgres, Redis, the sandbox, the wire between, the API and a worker; and the hands that
// kill, empty and restart them. `split` is the layout of production (API and worker apart, servers of their own); `one` is that of
// `npm start`, one process that brings its servers along.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parse, stringify } from 'yaml';
import { inRoot } from '../scripts/lib/house.mjs';
import { connectSandbox, sellerEnvironment } from '../scripts/lib/sandbox-shop.mjs';
import { startEmbeddedPostgres, startEmbeddedRedis } from '../dist/libs/platform/src/index.js';
import { Gate } from './gate.mjs';
import { Generator } from './generator.mjs';

const CONTROL_PLANE = 'dist/apps/control-plane/src/main.js';
const START_MS = 90_000;
/** Real milliseconds that a usage call may take here; a marketplace that goes silent for longer is one that timed out. */
const CALL_MS = 1_000;
export const SILENT_MS = 1_300;

export class House {
  #stops = [];
  #ended = false;

  constructor({ seed, layout = 'split', redis = true, cellCapacity = 50, keep = false }) {
    Object.assign(this, { seed, layout, redis, cellCapacity, keep });
    this.folder = mkdtempSync(join(tmpdir(), 'berth-faults-'));
    // The embedded Postgres may run as another user and must be able to pass through.
    chmodSync(this.folder, 0o711);
  }

  async open() {
    const sandbox = await this.#program('sandbox', 'dist/apps/marketplace-sandbox/src/main.js', [], {
      SANDBOX_PORT: '0',
      SANDBOX_SEED: String(this.seed),
    });
    this.sandboxUrl = sandbox.url;
    this.gate = await Gate.open(sandbox.url);
    this.#stops.push(() => this.gate.close());
    this.generator = await new Generator({ logFile: join(this.folder, 'generated.jsonl'), seed: this.seed }).open();
    writeFileSync(this.generator.logFile, '');
    this.#stops.push(() => this.generator.close());
    this.environment = {
      BERTH_DATA: join(this.folder, 'berth'),
      BERTH_SECRET: randomBytes(32).toString('hex'),
      BERTH_LOG: 'warn',
      BERTH_CATALOG: soldHere(this.folder),
      BERTH_SANDBOX_URL: this.gate.url,
      BERTH_USAGE_URL: this.generator.url,
      BERTH_CELL_CAPACITY: String(this.cellCapacity),
      BERTH_STOP_CELLS: 'true',
      BERTH_ASSERTIONS: 'true',
      BERTH_REDIS: this.redis ? 'auto' : 'off',
      AZURE_TIMEOUTS_MS: `usage=${CALL_MS}`,
      ...(await sellerEnvironment(sandbox.url)),
    };
    return this;
  }

  /** Business time is wherever it shall be by now: who keeps it, starts with it. */
  async start() {
    if (this.layout === 'split') {
      await this.#startPostgres();
      await this.#startRedis();
      this.api = await this.#program('api', CONTROL_PLANE, ['--role', 'api'], { ...this.environment, PORT: '0' });
    }
    await this.startWorker();
    if (this.layout === 'one') {
      this.api = this.worker;
      // Whoever knows its address keeps it.
      this.environment.PORT = new URL(this.worker.url).port;
    }
    this.key = readFileSync(this.api.operatorKeyFile, 'utf8').trim();
    await connectSandbox(this.sandboxUrl, this.api.url);
  }

  async startWorker() {
    const args = this.layout === 'split' ? ['--role', 'worker'] : [];
    this.worker = await this.#program('worker', CONTROL_PLANE, args, { PORT: '0', ...this.environment });
  }

  /** SIGKILL: no time for anything. */
  async killWorker() {
    const { child } = this.worker;
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('exit', resolve));
  }

  get workerLives() {
    const { child } = this.worker;
    return child.exitCode === null && child.signalCode === null;
  }

  get hasRedis() {
    return this.environment.REDIS_URL !== undefined;
  }

  async emptyRedis() {
    const { hostname, port, password } = new URL(this.environment.REDIS_URL);
    const socket = createConnection({ host: hostname, port: Number(port) });
    try {
      socket.end(`AUTH ${password}\r\nFLUSHALL\r\nQUIT\r\n`);
      let answer = '';
      for await (const chunk of socket) answer += chunk;
      if (answer !== '+OK\r\n+OK\r\n+OK\r\n') throw new Error(`Redis did not empty itself: ${answer}`);
    } finally {
      socket.destroy();
    }
  }

  /** Immediate shutdown, as a power cut: the write-ahead log is all that is left. */
  async restartPostgres() {
    process.kill(this.postgres.pid, 'SIGQUIT');
    await this.postgres.stop();
    await this.#startPostgres();
  }

  // What a person of finance has: the marketplaces' bills and the product's findings.
  billed = async () => (await this.shop('GET', '/billed')).items;
  findings = () => this.all('/findings?open=true');

  async all(path) {
    const items = [];
    for (let cursor = ''; cursor !== null;) {
      const page = await this.call('GET', `${this.api.url}/api/v1${path}${path.includes('?') ? '&' : '?'}limit=200${cursor}`, undefined, {
        authorization: `Bearer ${this.key}`,
      });
      items.push(...page.items);
      cursor = page.nextCursor ? `&cursor=${encodeURIComponent(page.nextCursor)}` : null;
    }
    return items;
  }

  shop(method, path, body) {
    return this.call(method, `${this.sandboxUrl}/sandbox${path}`, body);
  }

  async call(method, url, body, headers = {}) {
    const answer = await fetch(url, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(280_000),
    });
    const text = await answer.text();
    if (!answer.ok)
      throw Object.assign(new Error(`${method} ${url}: ${answer.status} ${text.slice(0, 400)}`), { code: text && JSON.parse(text).code });
    return text ? JSON.parse(text) : undefined;
  }

  async nowMs() {
    return Date.parse((await this.shop('GET', '/clock')).now);
  }

  /** Moves business time to an instant, everybody who lives with it. Answers who was lost on the way. */
  async moveTo(ms, stepSeconds = 900) {
    const seconds = (ms - (await this.nowMs())) / 1000;
    if (seconds <= 0) return [];
    return (await this.shop('POST', '/clock/advance', { seconds, stepSeconds })).lost;
  }

  async close() {
    if (this.#ended) return;
    this.#ended = true;
    for (const stop of this.#stops.toReversed()) await stop().catch((error) => console.error(`faults: at the end: ${error.message}`));
    if (!this.keep) rmSync(this.folder, { recursive: true, force: true, maxRetries: 3, retryDelay: 100 });
  }

  async #startPostgres() {
    this.postgres = await startEmbeddedPostgres({ dataDir: join(this.folder, 'postgres'), durability: 'full', maxConnections: 200 });
    if (this.environment.DATABASE_URL === undefined) this.#stops.push(() => this.postgres.stop());
    else if (this.environment.DATABASE_URL !== this.postgres.url) throw new Error('Postgres came back at another address');
    this.environment.DATABASE_URL = this.postgres.url;
  }

  async #startRedis() {
    const redis = this.redis ? await startEmbeddedRedis({ dataDir: join(this.folder, 'redis') }) : null;
    if (!redis) {
      this.environment.BERTH_REDIS = 'off';
      return;
    }
    this.#stops.push(() => redis.stop());
    this.environment.REDIS_URL = redis.url;
  }

  async #program(name, file, args, env) {
    const log = openSync(join(this.folder, `${name}.log`), 'a');
    const child = spawn(process.execPath, [inRoot(file), ...args], {
      env: { PATH: process.env.PATH, TZ: 'UTC', TMPDIR: tmpdir(), BERTH_RUN_ID: process.env.BERTH_RUN_ID, ...env },
      stdio: ['ignore', 'pipe', log],
      // Ctrl-C on a terminal comes to the runner alone.
      detached: true,
    });
    this.#stops.push(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 30_000);
      await ended;
      clearTimeout(late);
    });
    const banner = await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`the ${name} was not ready after ${START_MS / 1000} s`)), START_MS);
      createInterface({ input: child.stdout }).once('line', (line) => {
        clearTimeout(late);
        resolve(JSON.parse(line));
      });
      child.once('exit', (code) =>
        reject(new Error(`the ${name} ended with ${code}: ${readFileSync(join(this.folder, `${name}.log`), 'utf8').slice(-600)}`)),
      );
    });
    return { child, ...banner };
  }
}

/** The catalog without the meters that the house itself reads: all that is billed shall come from the generator. */
function soldHere(folder) {
  const catalog = join(folder, 'catalog');
  cpSync(inRoot('catalog'), catalog, { recursive: true });
  for (const name of ['azure.yaml', 'aws.yaml', 'gcp.yaml']) {
    const offer = parse(readFileSync(join(catalog, name), 'utf8'));
    for (const plan of offer.plans) plan.meters = plan.meters.filter(({ source }) => source === 'cell');
    writeFileSync(join(catalog, name), stringify(offer, { aliasDuplicateObjects: false }));
  }
  mkdirSync(join(folder, 'berth'), { recursive: true });
  return catalog;
}
