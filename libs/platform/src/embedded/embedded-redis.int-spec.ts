import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findRedisServer, startEmbeddedRedis } from './index.js';
import { identify, isAlive } from './process-tools.js';

function say(url: string, ...commands: string[]): Promise<string> {
  const { port, password } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port: Number(port) });
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.once('close', () => resolve(text));
    socket.once('error', reject);
    socket.write([...(password ? [`AUTH ${password}`] : []), ...commands, 'QUIT', ''].join('\r\n'));
  });
}

describe('the embedded Redis', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-redis-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('is null where no server is on the PATH', async () => {
    expect(await startEmbeddedRedis({ dataDir: folder, path: folder })).toBeNull();
  });

  it.runIf(findRedisServer() !== undefined)('evicts nothing, asks for a password and keeps what it was told over a restart', async () => {
    const first = await startEmbeddedRedis({ dataDir: folder });
    if (!first) throw new Error('no Redis was started');
    const text = await say(first.url, 'CONFIG GET maxmemory-policy', 'CONFIG GET appendonly', 'SET kept 5');
    expect(text).toMatch(/noeviction[\s\S]*yes[\s\S]*\+OK/);
    const anonymous = new URL(first.url);
    anonymous.password = '';
    expect(await say(anonymous.toString(), 'GET kept')).toContain('NOAUTH');
    const commandLine = spawnSync('ps', ['-o', 'args=', '-p', String(first.pid)], { encoding: 'utf8' }).stdout;
    expect(commandLine).not.toContain(new URL(first.url).password);
    await first.stop();
    expect(isAlive(identify(first.pid))).toBe(false);

    const second = await startEmbeddedRedis({ dataDir: folder });
    if (!second) throw new Error('no Redis was started');
    expect(await say(second.url, 'GET kept')).toContain('$1\r\n5');
    await second.stop();
  });
});
