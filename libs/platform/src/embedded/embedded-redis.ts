import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, closeSync, constants, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { EmbeddedStartError } from './embedded.errors.js';
import { endWithThisProcess, freePort, identify, pause, signal, waitForEnd, type ProcessIdentity } from './process-tools.js';

export interface EmbeddedRedis {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const REMEDY = 'set REDIS_URL to a Redis server, or take redis-server off the PATH to run on Postgres alone';

/** The first `redis-server` or `valkey-server` on PATH, or undefined. */
export function findRedisServer(path: string = process.env['PATH'] ?? ''): string | undefined {
  for (const name of ['redis-server', 'valkey-server']) {
    for (const folder of path.split(delimiter).filter(Boolean)) {
      const file = join(folder, name);
      try {
        accessSync(file, constants.X_OK);
        if (statSync(file).isFile()) return file;
      } catch {
        // not here
      }
    }
  }
  return undefined;
}

/**
 * A private Redis child with its log of changes in the data folder, or null where the machine has no server. With null
 * nothing of a Redis client may be made: a client without a server dials on for ever (stack.md §2.3).
 */
export async function startEmbeddedRedis(options: { dataDir: string; path?: string }): Promise<EmbeddedRedis | null> {
  const program = findRedisServer(options.path);
  if (!program) return null;
  const folder = resolve(options.dataDir);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  await endPredecessor(folder);
  for (let attempt = 1; ; attempt++) {
    const started = await launch(program, folder);
    if (typeof started !== 'string') return started;
    if (attempt >= 3) throw new EmbeddedStartError(`the embedded Redis (${program}) did not start: ${started}`, REMEDY);
  }
}

async function launch(program: string, folder: string): Promise<EmbeddedRedis | string> {
  const port = await freePort();
  const password = randomBytes(24).toString('hex');
  const logFile = join(folder, 'redis.log');
  const log = openSync(logFile, 'w', 0o600);
  const mark = process.env['BERTH_RUN_ID'];
  const child = spawn(program, ['-'], {
    cwd: folder,
    detached: true,
    stdio: ['pipe', log, log],
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', ...(mark ? { BERTH_RUN_ID: mark } : {}) },
  });
  closeSync(log);
  let gone: string | undefined;
  child.once('error', (error) => (gone = error.message));
  child.once('exit', () => (gone ??= ''));
  child.stdin?.on('error', () => undefined);
  // Settings by stdin: the password is on no command line.
  child.stdin?.end(settings(port, folder, password));
  child.unref();
  const process_: ProcessIdentity | undefined = child.pid === undefined ? undefined : identify(child.pid);
  const letGo = process_ ? endWithThisProcess(process_, 'TERM') : () => undefined;
  const pidFile = join(folder, 'berth-redis.json');
  if (process_) writeFileSync(pidFile, JSON.stringify(process_), { mode: 0o600 });

  const until = performance.now() + 20_000;
  while (gone === undefined && performance.now() < until) {
    if (process_ && (await answersPing(port, password))) {
      return {
        url: `redis://:${password}@127.0.0.1:${port}`,
        pid: process_.pid,
        async stop() {
          await end(process_);
          letGo();
          rmSync(pidFile, { force: true });
        },
      };
    }
    await pause(20);
  }
  if (process_) await end(process_);
  letGo();
  if (gone === undefined) return 'no answer within 20 s';
  return gone || (readFileSync(logFile, 'utf8').trim().split('\n').at(-1) ?? 'it said nothing');
}

const settings = (port: number, folder: string, password: string): string =>
  [
    `port ${port}`,
    'bind 127.0.0.1',
    `requirepass ${password}`,
    `dir ${JSON.stringify(folder)}`,
    'daemonize no',
    'appendonly yes',
    'appendfsync everysec',
    'save ""',
    // Bull needs it: an evicted key is a lost job.
    'maxmemory-policy noeviction',
    '',
  ].join('\n');

/** A child of a killed launcher may still be on its way down; two servers on one log would spoil it. */
async function endPredecessor(folder: string): Promise<void> {
  try {
    await end(JSON.parse(readFileSync(join(folder, 'berth-redis.json'), 'utf8')) as ProcessIdentity);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' && !(error instanceof SyntaxError)) throw error;
  }
}

async function end(server: ProcessIdentity): Promise<void> {
  signal(server, 'SIGTERM');
  if (await waitForEnd(server, 10_000)) return;
  signal(server, 'SIGKILL');
  await waitForEnd(server, 5_000);
}

/** The wire itself, so that no client library is needed here. */
function answersPing(port: number, password: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    let text = '';
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => done(false));
    socket.once('error', () => done(false));
    socket.once('close', () => done(false));
    socket.once('connect', () => socket.write(`AUTH ${password}\r\nPING\r\n`));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('+PONG')) done(true);
      else if (/-(LOADING|NOAUTH|WRONGPASS)/.test(text)) done(false);
    });
  });
}
