import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres } from './index.js';
import { identify, isAlive, waitForEnd } from './process-tools.js';

const here = dirname(fileURLToPath(import.meta.url));
const asRoot = process.getuid?.() === 0;

async function ask<T>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as T[];
  } finally {
    await client.end();
  }
}

/** This folder's sources as JavaScript beside node_modules, for a launcher in a process of its own. */
function compileLauncher(): string {
  const out = join(here, '../../../../.tmp', `launcher-${process.pid}`);
  mkdirSync(out, { recursive: true });
  for (const file of readdirSync(here).filter((name) => name.endsWith('.ts') && !name.endsWith('spec.ts'))) {
    const { outputText } = ts.transpileModule(readFileSync(join(here, file), 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
    });
    writeFileSync(join(out, `${basename(file, '.ts')}.js`), outputText);
  }
  writeFileSync(
    join(out, 'launch.mjs'),
    `import { startEmbeddedPostgres } from './index.js';
     const server = await startEmbeddedPostgres(JSON.parse(process.argv[2]));
     console.log(JSON.stringify({ pid: server.pid, url: server.url, adopted: server.adopted }));
     setInterval(() => {}, 1000);`,
  );
  return out;
}

interface Launched {
  pid: number;
  url: string;
  adopted: boolean;
}

describe('the embedded Postgres', () => {
  let folder: string;
  let launcher: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-embedded-'));
    chmodSync(folder, 0o755);
    launcher = compileLauncher();
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
    rmSync(launcher, { recursive: true, force: true });
  });

  async function launchElsewhere(options: object): Promise<{ answer: Launched; kill: () => Promise<void> }> {
    const child = spawn(process.execPath, [join(launcher, 'launch.mjs'), JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'pipe'] });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const [line] = (await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(() => [''])])) as [Buffer | string];
    if (!line.toString()) throw new Error(errors);
    return {
      answer: JSON.parse(line.toString()) as Launched,
      kill: async () => {
        const gone = once(child, 'exit');
        child.kill('SIGKILL');
        await gone;
      },
    };
  }

  it('starts, serves with a password over the loopback only, keeps data and port over a restart', async () => {
    const dataDir = join(folder, 'restart', 'pg');
    const first = await startEmbeddedPostgres({ dataDir, durability: 'relaxed' });
    expect(first.adopted).toBe(false);
    const [row] = await ask<{ who: string; db: string; enc: string; addr: string; sockets: string }>(
      first.url,
      `select current_user as who, current_database() as db, current_setting('password_encryption') as enc,
              current_setting('listen_addresses') as addr, current_setting('unix_socket_directories') as sockets`,
    );
    expect(row).toEqual({ who: 'berth_admin', db: 'berth', enc: 'scram-sha-256', addr: '127.0.0.1', sockets: '' });
    const wrong = new URL(first.url);
    wrong.password = 'guess';
    await expect(ask(wrong.toString(), 'select 1')).rejects.toMatchObject({ code: '28P01' });
    expect(statSync(`${dataDir}.password`).mode & 0o777).toBe(0o600);
    await ask(first.url, 'create table kept as select 7 as n');
    await first.stop();
    expect(isAlive(identify(first.pid))).toBe(false);

    const second = await startEmbeddedPostgres({ dataDir, durability: 'relaxed' });
    expect(second.port).toBe(first.port);
    expect(await ask(second.url, 'select n from kept')).toEqual([{ n: 7 }]);
    await second.stop({ removeData: true });
    expect(readdirSync(dirname(dataDir))).toEqual([]);
  });

  it.runIf(asRoot)('runs the server as nobody when we are root', async () => {
    const server = await startEmbeddedPostgres({ dataDir: join(folder, 'root', 'pg'), durability: 'relaxed' });
    try {
      expect(statSync(`/proc/${server.pid}`).uid).toBe(65534);
    } finally {
      await server.stop({ removeData: true });
    }
  });

  it.runIf(asRoot)('serves from a data folder below a home that is closed to nobody', async () => {
    const home = join(folder, 'home');
    mkdirSync(home, { mode: 0o700 });
    const dataDir = join(home, 'berth', 'pg');
    const server = await startEmbeddedPostgres({ dataDir, durability: 'relaxed' });
    const data = readFileSync(`${dataDir}.where.txt`, 'utf8').trim();
    expect(await ask(server.url, 'select 1 as n')).toEqual([{ n: 1 }]);
    await server.stop({ removeData: true });
    expect(existsSync(data)).toBe(false);
  });

  it('is taken over, with its sessions served on, when its launcher was killed', async () => {
    const dataDir = join(folder, 'adopt', 'pg');
    const { answer, kill } = await launchElsewhere({ dataDir, durability: 'relaxed', detached: true });
    await ask(answer.url, 'create table kept as select 1 as n');
    await kill();
    const server = await startEmbeddedPostgres({ dataDir, durability: 'relaxed' });
    expect(server).toMatchObject({ adopted: true, pid: answer.pid, url: answer.url });
    expect(await ask(server.url, 'select n from kept')).toEqual([{ n: 1 }]);
    await server.stop();
    expect(isAlive(identify(answer.pid))).toBe(false);
  });

  it('ends with its launcher, also when that is killed, unless it was started detached', async () => {
    const dataDir = join(folder, 'tied', 'pg');
    const { answer, kill } = await launchElsewhere({ dataDir, durability: 'relaxed' });
    const server = identify(answer.pid);
    expect(isAlive(server)).toBe(true);
    await kill();
    expect(await waitForEnd(server, 10_000)).toBe(true);
  });

  it('starts again at once while the server of a killed launcher is on its way down', async () => {
    const dataDir = join(folder, 'race', 'pg');
    const { answer, kill } = await launchElsewhere({ dataDir, durability: 'relaxed' });
    await ask(answer.url, 'create table kept as select 3 as n');
    await kill();
    const server = await startEmbeddedPostgres({ dataDir, durability: 'relaxed' });
    expect(await ask(server.url, 'select n from kept')).toEqual([{ n: 3 }]);
    await server.stop();
  });

  it('refuses a second launcher on the same data folder and names the first', async () => {
    const dataDir = join(folder, 'held', 'pg');
    const { kill } = await launchElsewhere({ dataDir, durability: 'relaxed' });
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(/in use by process \d+; stop that process/);
    await kill();
  });

  it('ignores a pid file whose number belongs to another program', async () => {
    const dataDir = join(folder, 'stale', 'pg');
    const first = await startEmbeddedPostgres({ dataDir, durability: 'relaxed' });
    await first.stop();
    writeFileSync(join(dataDir, 'postmaster.pid'), `${process.pid}\n${dataDir}\n1\n5432\n`);
    const second = await startEmbeddedPostgres({ dataDir, durability: 'relaxed' });
    expect(second.adopted).toBe(false);
    await second.stop();
  });

  it('takes another port when the old one is in use, and sets a new password when the kept one was lost', async () => {
    const dataDir = join(folder, 'moved', 'pg');
    const first = await startEmbeddedPostgres({ dataDir, durability: 'relaxed' });
    await first.stop();
    const squatter = createServer().listen(first.port, '127.0.0.1');
    await once(squatter, 'listening');
    rmSync(`${dataDir}.password`);
    try {
      const second = await startEmbeddedPostgres({ dataDir, durability: 'relaxed' });
      expect(second.port).not.toBe(first.port);
      expect(await ask(second.url, 'select 1 as n')).toEqual([{ n: 1 }]);
      await second.stop();
    } finally {
      squatter.close();
    }
  });

  it('says in one line why a data folder cannot be used', async () => {
    const dataDir = join(folder, 'full', 'pg');
    mkdirSync(dataDir, { recursive: true });
    writeFileSync(join(dataDir, 'letter.txt'), 'private');
    await expect(startEmbeddedPostgres({ dataDir, durability: 'relaxed' })).rejects.toThrow(
      /is not empty and holds no database; move it away[^\n]*$/,
    );
    expect(readFileSync(join(dataDir, 'letter.txt'), 'utf8')).toBe('private');
  });
});
