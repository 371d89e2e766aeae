import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { OffsetClock } from '../clock.js';
import { openDatabase, type Database } from '../db/database.js';
import { findRedisServer, startEmbeddedRedis, type EmbeddedRedis } from '../embedded/index.js';
import { BullNudger } from '../queue/bull-nudger.js';
import { eventually, silentLogger } from '../testing/index.js';
import type { Nudger } from './nudger.js';
import { PgNudger } from './pg-nudger.js';
import { TaskRunner } from './task-runner.js';
import { Tasks } from './tasks.js';

/** `on`: Bull over a private redis-server; `off`: LISTEN/NOTIFY. `npm test` runs this file in both. */
const MODE = process.env['BERTH_TEST_REDIS'] ?? (findRedisServer() ? 'on' : 'off');
const A_LONG_POLL = 600_000;
type Case = (title: string, test: () => Promise<void>) => void;
const withRedis: Case = (title, test) => void (MODE === 'on' && it(title, test));
const withoutRedis: Case = (title, test) => void (MODE === 'off' && it(title, test));

function redisSays(url: string, command: string): Promise<string> {
  const { port, password } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port: Number(port) });
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.once('close', () => resolve(text));
    socket.once('error', reject);
    socket.write([...(password ? [`AUTH ${password}`] : []), command, 'QUIT', ''].join('\r\n'));
  });
}

async function redisOnPort(port: number): Promise<ChildProcess> {
  const child = spawn(findRedisServer()!, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
    stdio: 'ignore',
  });
  await eventually('Redis answers', () =>
    redisSays(`redis://127.0.0.1:${port}`, 'PING')
      .then((text) => text.includes('PONG'))
      .catch(() => false),
  );
  return child;
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

describe.skipIf(MODE === 'on' && !findRedisServer())(`the dispatcher ${MODE === 'on' ? 'with Redis' : 'without Redis'}`, () => {
  const clock = new OffsetClock();
  let base: TestDatabase;
  let db: Database;
  let folder: string;
  let redis: EmbeddedRedis | null = null;
  let redisUrl = '';
  let ran: string[];
  const open: { stop(): Promise<void> }[] = [];

  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret });
    folder = mkdtempSync(join(tmpdir(), 'berth-dispatcher-'));
  });
  afterAll(async () => {
    await db?.close();
    await base?.drop();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    ran = [];
    await db.ops((tx) => tx.query('delete from tasks'));
    redis = MODE === 'on' ? await startEmbeddedRedis({ dataDir: join(folder, String(Math.random()).slice(2)) }) : null;
    redisUrl = redis?.url ?? '';
  });
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.stop();
    await redis?.stop();
  });

  const nudgerOf = (url = redisUrl): Nudger => {
    const nudger = MODE === 'on' ? new BullNudger(url, silentLogger()) : new PgNudger(base.url('ops'), silentLogger());
    open.push(nudger);
    return nudger;
  };
  /** A worker process: claims and runs. */
  const worker = async (pollMs: number, url?: string): Promise<Tasks> => {
    const nudger = nudgerOf(url);
    const runner = new TaskRunner(db, clock, nudger, silentLogger(), { pollMs });
    runner.register('note', async (payload) => void ran.push(String(payload['n'])));
    await runner.start();
    open.push(runner);
    // The poll of the start has found nothing: from here on only a nudge or the next poll brings work.
    await new Promise((resolve) => setTimeout(resolve, 100));
    return new Tasks(clock, nudger);
  };
  /** A process that only enqueues (role api): its nudger is never started. */
  const api = (url?: string): Tasks => new Tasks(clock, nudgerOf(url));
  const enqueue = (tasks: Tasks, n: number, runAt?: Date): Promise<string> =>
    db.ops((tx) => tasks.enqueue(tx, { lane: `lane:${n % 7}`, handler: 'note', payload: { n }, runAt }));
  const all = (count: number): string[] => Array.from({ length: count }, (_, n) => String(n)).sort();
  const killListeners = (): Promise<unknown> =>
    db.ops((tx) =>
      tx.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'berth-nudger' and datname = current_database()`,
      ),
    );

  it('starts work of its own process at once, long before the next poll', async () => {
    const tasks = await worker(A_LONG_POLL);
    await enqueue(tasks, 0);
    await eventually('the task ran', () => ran.length === 1, 5_000);
  });

  it('starts work that another process enqueued, long before the next poll', async () => {
    await worker(A_LONG_POLL);
    await enqueue(api(), 0);
    await eventually('the task ran', () => ran.length === 1, 5_000);
  });

  it('runs each of many tasks once, whichever of two workers gets it', async () => {
    const tasks = await worker(A_LONG_POLL);
    await worker(A_LONG_POLL);
    const other = api();
    for (let n = 0; n < 40; n++) await enqueue(n % 2 ? tasks : other, n);
    await eventually('all tasks ran', () => ran.length >= 40);
    expect([...ran].sort()).toEqual(all(40));
  });

  it('finds a task that was enqueued without any nudge at the next poll', async () => {
    await worker(200);
    await enqueue(
      new Tasks(clock, { mode: 'poller', nudge: () => undefined, start: async () => undefined, stop: async () => undefined }),
      0,
    );
    await eventually('the task ran', () => ran.length === 1);
  });

  withRedis('starts a task that becomes due later by its own timer', async () => {
    const tasks = await worker(A_LONG_POLL);
    await enqueue(tasks, 0, new Date(clock.now().getTime() + 700));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(ran).toEqual([]);
    await eventually('the task ran', () => ran.length === 1, 8_000);
  });

  withRedis('loses nothing when Redis is emptied in the middle', async () => {
    const tasks = await worker(300);
    for (let n = 0; n < 30; n++) {
      await enqueue(tasks, n, n % 3 === 0 ? new Date(clock.now().getTime() + 500) : undefined);
      if (n % 10 === 5) expect(await redisSays(redisUrl, 'FLUSHALL')).toContain('+OK');
    }
    await eventually('all tasks ran', () => ran.length >= 30);
    expect([...ran].sort()).toEqual(all(30));
  });

  withRedis('loses nothing when Redis is killed in the middle', async () => {
    const tasks = await worker(300);
    for (let n = 0; n < 30; n++) {
      await enqueue(tasks, n);
      if (n === 10) process.kill(redis!.pid, 'SIGKILL');
    }
    await eventually('all tasks ran', () => ran.length >= 30);
    expect([...ran].sort()).toEqual(all(30));
  });

  withRedis('is nudged again once a Redis that went away is back', async () => {
    const port = await freePort();
    const url = `redis://127.0.0.1:${port}`;
    let own = await redisOnPort(port);
    try {
      const tasks = await worker(A_LONG_POLL, url);
      await enqueue(tasks, 0);
      await eventually('the first task ran', () => ran.length === 1);
      own.kill('SIGKILL');
      await eventually('Redis is gone', () => own.exitCode !== null || own.signalCode !== null);
      await enqueue(tasks, 1);
      own = await redisOnPort(port);
      await eventually(
        'the tasks ran',
        async () => {
          if (ran.length < 2) await enqueue(tasks, 2);
          return ran.length >= 2;
        },
        20_000,
      );
    } finally {
      for (const one of open.splice(0).reverse()) await one.stop();
      own.kill('SIGKILL');
    }
  });

  withoutRedis('loses nothing when the listening connections are cut in the middle, and listens again', async () => {
    const tasks = await worker(300);
    for (let n = 0; n < 30; n++) {
      await enqueue(tasks, n);
      if (n === 10) await killListeners();
    }
    await eventually('all tasks ran', () => ran.length >= 30);
    expect([...ran].sort()).toEqual(all(30));
  });

  withoutRedis('listens again after its connection was cut', async () => {
    await worker(A_LONG_POLL);
    const other = api();
    await enqueue(other, 0);
    await eventually('the first task ran', () => ran.length === 1);
    await killListeners();
    await eventually('a nudge arrives again', async () => {
      await enqueue(other, 1);
      return ran.length > 1;
    });
  });
});
