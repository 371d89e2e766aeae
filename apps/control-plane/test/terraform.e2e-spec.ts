import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startProgram } from '../../../test/support/program.js';
import { connectSandbox } from '../../../scripts/lib/sandbox-shop.mjs';
import { House, until } from './support/house.js';

/** Command lines of this machine that name the house's folder, and of terraform that works in it. */
function processesOf(folder: string): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const marked = readFileSync(`/proc/${name}/environ`, 'utf8').includes(`@${folder}/`);
        return command.includes(folder) || marked ? [{ pid: Number(name), command }] : [];
      } catch {
        return [];
      }
    });
}

describe('a purchase whose cluster terraform builds', () => {
  // The database that Berth starts by itself: a control plane that comes back knows that it is alone, and waits for no lease.
  const h = new House({ BERTH_SHAPE_DRIVERS: 'cell=terraform', DATABASE_URL: '', BERTH_RELAXED_DURABILITY: 'true' });
  beforeAll(() => h.start());
  afterAll(() => h.stop());

  const cells = (): string[] => processesOf(h.folder).flatMap(({ command }) => / --berth-cell=(\S+)/.exec(command)?.[1] ?? []);

  it('serves in the end with one cell, though the control plane was killed in the middle of the build', async () => {
    const { sessionId } = await h.buy('built-by-terraform');
    const details = { organisation: 'Winter Works', region: 'local', contactName: 'Ada Winter', contactEmail: 'ada@winter.example' };
    await h.call('POST', `${h.controlPlane.url}/landing/api/sessions/${sessionId}/details`, details);
    const applying = ({ command }: { command: string }): boolean =>
      /\bapply\b.*berth\.tfplan/.test(command) || command.includes('cells-program');
    await until(
      async () => processesOf(h.folder).filter(applying),
      (found) => found.length > 0,
    );
    h.controlPlane.child.kill('SIGKILL');
    await new Promise((resolve) => h.controlPlane.child.once('exit', resolve));
    h.controlPlane = await startProgram('apps/control-plane/src/main.js', [], h.environment());
    await connectSandbox(h.sandbox.url, h.controlPlane.url);
    await until(
      () => h.session(sessionId),
      (answer) => answer.json['state'] === 'ready',
      90_000,
    );
    const [cluster, ...more] = await h.list('clusters');
    expect(more).toEqual([]);
    expect(cluster).toMatchObject({ driver: 'terraform', phase: 'active' });
    expect(cells()).toEqual([cluster!['name']]);
    // Nothing of the killed run is left, and the new one has put its folder away.
    expect(processesOf(h.folder).filter(applying)).toEqual([]);
    expect(readdirSync(`${h.folder}/berth/terraform/work`)).toEqual([]);
  });

  it('opens the state of a cluster to nobody without the credential of a run', async () => {
    const [cluster] = await h.list('clusters');
    const state = `${h.controlPlane.url}/drivers/terraform/state/${String(cluster!['name'])}`;
    const stranger = `Basic ${Buffer.from('018f0000-0000-7000-8000-000000000000:guessed').toString('base64')}`;
    for (const method of ['GET', 'POST', 'DELETE', 'LOCK', 'UNLOCK'])
      for (const headers of [{}, { authorization: stranger }, { authorization: `Bearer ${h.key}` }])
        expect((await h.call(method, state, method === 'GET' ? undefined : '{"ID":"1"}', headers as Record<string, string>)).status).toBe(
          401,
        );
  });

  it('whose cell is lost is built anew only when an operator names it: nothing empty takes its place by itself', async () => {
    const [{ id, name }] = (await h.list('clusters')) as [{ id: string; name: string }];
    const path = `/clusters/${id}`;
    const why = { reason: 'The disk is gone, and a copy is elsewhere' };
    for (const { pid, command } of processesOf(h.folder)) if (command.includes(`--berth-cell=${name}`)) process.kill(pid, 'SIGKILL');
    rmSync(`${h.folder}/berth/terraform/cells/cells/${name}`, { recursive: true });
    const waits = await until(
      () => h.api('GET', path),
      ({ json }) => json['phase'] === 'approval',
      60_000,
    );
    const plan = waits.json['plan'] as { hash: string; destroys: string[] };
    expect(plan).toMatchObject({ destroys: [name], replace: 1, cost: { amountPerHour: '0' }, expiresAt: expect.any(String) });
    expect(cells()).toEqual([]);
    const decide = (word: string, body: unknown, key = h.key) => h.api('POST', `${path}/plans/${plan.hash}/${word}`, body, key);
    expect(await decide('approve', { ...why, destroys: [name] }, '')).toMatchObject({ status: 401 });
    expect(await decide('approve', { ...why })).toMatchObject({ status: 400, json: { code: 'request.invalid' } });
    expect(await decide('approve', { ...why, destroys: ['another'] })).toMatchObject({
      status: 422,
      json: { code: 'plan.not_confirmed', destroys: [name] },
    });
    expect(await h.api('POST', `${path}/plans/${'0'.repeat(64)}/reject`, why)).toMatchObject({
      status: 404,
      json: { code: 'plan.unknown' },
    });
    expect(await decide('approve', { ...why, destroys: [name] })).toMatchObject({
      status: 202,
      json: { decision: { state: 'approved', decidedBy: expect.stringMatching(/^operator:/) } },
    });
    await until(
      () => h.api('GET', path),
      ({ json }) => json['phase'] === 'active',
      60_000,
    );
    expect(cells()).toEqual([name]);
    expect((await h.api('GET', `${path}/plans`)).json.items).toMatchObject([{ hash: plan.hash, state: 'applied', reason: why.reason }]);
    expect(await decide('reject', why)).toMatchObject({ status: 409, json: { code: 'plan.in_state', state: 'applied' } });
  });
});
