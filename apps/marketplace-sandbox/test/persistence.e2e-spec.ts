import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOUR, SETTINGS_PATH, tempFolder, Wire } from './support/harness.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const build = tempFolder();
const running = new Set<ChildProcess>();

/** The app as it is shipped: compiled, and run by plain node. */
beforeAll(() => {
  const config = join(build, 'tsconfig.json');
  writeFileSync(
    config,
    JSON.stringify({
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: { rootDir: ROOT, outDir: join(build, 'dist'), typeRoots: [join(ROOT, 'node_modules/@types')], sourceMap: false },
      include: [join(ROOT, 'apps/marketplace-sandbox/src/**/*.ts')],
      exclude: [],
    }),
  );
  execFileSync(process.execPath, [join(ROOT, 'node_modules/tsgo/bin/tsc'), '-p', config]);
  symlinkSync(join(ROOT, 'node_modules'), join(build, 'dist/node_modules'));
  writeFileSync(join(build, 'dist/package.json'), '{"type":"module"}');
}, 60_000);
afterAll(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(build, { recursive: true, force: true });
});

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function launch(env: Record<string, string>): { child: ChildProcess; ready: Promise<Wire>; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [join(build, 'dist/apps/marketplace-sandbox/src/main.js')], {
    env: { PATH: process.env['PATH'] ?? '', SANDBOX_PORT: '0', SANDBOX_SETTINGS: SETTINGS_PATH, ...env },
    cwd: build,
  });
  running.add(child);
  let stdout = '';
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code) => {
      running.delete(child);
      resolve({ code, stdout, stderr });
    });
  });
  const ready = new Promise<Wire>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
      if (stdout.includes('\n')) resolve(new Wire((JSON.parse(stdout) as { url: string }).url));
    });
    void ended.then(() => reject(new Error(`it ended: ${stderr}`)));
  });
  ready.catch(() => undefined);
  return { child, ready, ended };
}

describe('kill -9 and a new start on the same folder', () => {
  it('keeps keys, purchases, operations, accepted usage, faults, settings, clock and calls', async () => {
    const data = join(build, 'data');
    const first = launch({ SANDBOX_DATA: data });
    const before = await first.ready;
    await before.settings({ webhookUrl: 'http://127.0.0.1:9/closed' });
    const bearer = await before.token();
    const landing = await before.purchase();
    const id = await before.subscribed();
    await before.advance(7200);
    const item = before.usage(id, (await before.now()) - HOUR, { quantity: 0.25 });
    const receipt = (await before.api('/usageEvent', { body: item })).json.usageEventId;
    const { operationId } = (await before.act(id, 'change-plan', { planId: 'premium' })).json;
    await before.control('/faults', { body: { marketplace: 'azure', operation: 'plans', kind: 'status' } });
    const offsetMs = (await before.control('/clock')).json.offsetMs;
    const calls = (await before.control('/calls?limit=2000')).json.items.length;

    first.child.kill('SIGKILL');
    await first.ended;
    // A write that the kill cut in two.
    appendFileSync(join(data, 'state.jsonl'), '{"t":"azure.usage","k":"torn');
    const second = launch({ SANDBOX_DATA: data });
    const after = await second.ready;

    expect((await after.control('/clock')).json).toMatchObject({ offsetMs, generation: 1 });
    expect((await after.control('/settings')).json.azure.webhookUrl).toBe('http://127.0.0.1:9/closed');
    expect((await after.control('/calls?limit=2000')).json.items.length).toBe(calls);
    expect((await after.control('/faults')).json.items).toHaveLength(1);
    const answer = await after.api(`/saas/subscriptions/${id}/operations/${operationId}`, { token: bearer });
    expect(answer.json).toMatchObject({ id: operationId, status: 'InProgress', planId: 'premium' });
    expect(
      (await after.api('/saas/subscriptions/resolve', { method: 'POST', headers: { 'x-ms-marketplace-token': landing.token } })).json.id,
    ).toBe(landing.subscriptionId);
    const repeat = await after.api('/usageEvent', { body: item });
    expect([repeat.status, repeat.json.additionalInfo.acceptedMessage.usageEventId]).toEqual([409, receipt]);
    expect((await after.control(`/billed?externalId=${id}`)).json.items).toMatchObject([{ quantity: '0.25', receipt }]);

    second.child.kill('SIGTERM');
    expect((await second.ended).code).toBe(0);
    expect(readFileSync(join(data, 'state.jsonl'), 'utf8')).not.toContain(landing.token);
  }, 30_000);
});

describe('start-up faults', () => {
  async function fault(env: Record<string, string>): Promise<Ended> {
    const ended = await launch(env).ended;
    expect(ended.code).toBe(1);
    expect(ended.stdout).toBe('');
    expect(ended.stderr.trim().split('\n')).toHaveLength(1);
    return ended;
  }

  it('name cause and remedy of a port in use', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { stderr } = await fault({ SANDBOX_PORT: String((other.address() as AddressInfo).port) });
    other.close();
    expect(stderr).toMatch(/port is in use.*SANDBOX_PORT/);
  });

  it('name cause and remedy of settings that cannot be read or are not valid', async () => {
    expect((await fault({ SANDBOX_SETTINGS: join(build, 'absent.yaml') })).stderr).toMatch(/absent\.yaml cannot be read .*correct/);
    const bad = join(build, 'bad.yaml');
    const text = readFileSync(SETTINGS_PATH, 'utf8');
    writeFileSync(bad, text.replace('isPricePerSeat: true,', 'isPricePerSeat: true, meters: { x: { pricePerUnit: 1 } },'));
    expect((await fault({ SANDBOX_SETTINGS: bad })).stderr).toMatch(/plan team is per seat and may not have meters/);
  });

  it('refuse a host that other machines can reach', async () => {
    expect((await fault({ SANDBOX_HOST: '0.0.0.0' })).stderr).toMatch(/not a loopback address.*127\.0\.0\.1/);
  });

  it('name a data folder that cannot be made', async () => {
    mkdirSync(join(build, 'files'), { recursive: true });
    writeFileSync(join(build, 'files/plain'), '');
    expect((await fault({ SANDBOX_DATA: join(build, 'files/plain/data') })).stderr).toMatch(/SANDBOX_DATA/);
  });
});
