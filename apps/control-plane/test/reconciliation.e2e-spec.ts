import { execFile } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { House, until } from './support/house.js';

const house = new House();
beforeAll(() => house.start(), 60_000);
afterAll(() => house.stop(), 30_000);

const berth = (...args: string[]): Promise<{ code: number; out: string; errors: string }> =>
  new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(projectRoot(), 'dist/apps/cli/src/main.js'), ...args],
      { env: { PATH: process.env['PATH'], BERTH_URL: house.controlPlane.url, BERTH_KEY: house.key }, timeout: 60_000 },
      (error, out, errors) => resolve({ code: error ? Number(error.code ?? 1) : 0, out, errors }),
    );
  });
const leftBehind = (): string => join(house.folder, 'berth', 'cells', 'cells', 'left-behind');
const FINDING = /^fin_\S+ +drift\.missing_here +open /m;

describe('reconciliation by API and by command', () => {
  it('agrees where there is nothing to differ, says how far it is, and who cannot tell', async () => {
    const said = await berth('reconcile', '--wait');
    expect([said.code, said.errors]).toEqual([0, expect.stringMatching(/^(waits for |\d of \d: )/)]);
    expect(said.out).toMatch(/^read_back azure +agrees /m);
    expect(said.out).toMatch(/^read_back gcp +not comparable .* does not tell /m);
    const { items } = (await house.api('GET', '/reconciliations')).json;
    expect(items!.find((r) => r['requestedVia'] === 'command')).toMatchObject({
      requestedBy: 'first operator',
      requestedVia: 'command',
      state: 'done',
      agreed: true,
    });
    expect((await house.api('GET', '/reconciliations', undefined, '')).status).toBe(401);
  });

  it('finds capacity that is nobody’s, ends with 2, touches nothing, and closes the finding when it is gone', async () => {
    mkdirSync(leftBehind(), { recursive: true });
    const body = { kinds: ['placements'], from: '2026-03-01T00:00:00Z', to: '2026-03-02T00:00:00Z' };
    // The day's own run may go on just now.
    const started = await until(
      () => house.api('POST', '/reconciliations', body),
      (a) => a.json['code'] !== 'reconciliation.under_way',
    );
    expect([started.status, started.json['requestedVia'], started.json['agreed']]).toEqual([202, 'api', null]);
    const said = await berth('reconcile', '--kinds', 'placements', '--wait');
    expect([said.code, said.out]).toEqual([2, expect.stringMatching(/^placements +DIFFERS /m)]);
    const found = await berth('findings', '--open', '--kind', 'drift.missing_here');
    expect([found.code, found.out]).toEqual([0, expect.stringMatching(FINDING)]);
    rmSync(leftBehind(), { recursive: true });
    expect((await berth('reconcile', '--kinds', 'placements', '--wait', '--json')).code).toBe(0);
    expect((await berth('findings', '--open', '--kind', 'drift.missing_here')).out).toBe('no findings\n');
    const settled = (await house.api('GET', '/findings?kind=drift.missing_here')).json.items![0]!;
    expect(settled['settlement']).toMatchObject({ kind: 'fix_mapping', actor: expect.stringMatching(/^reconciliation:/) });
  });

  it('takes a report that finance downloaded: preview, import once, and a comparison that leaves foreign purchases alone', async () => {
    const path = join(house.folder, 'usage.csv');
    const head = 'UsageDate,AssetId,MeterDimension,MeteredUsage\n';
    writeFileSync(path, `${head}2026-03-10,somebody-else,stored,3\nsoon,somebody-else,stored,3\n`);
    const command = ['usage-report', 'import', path, '--marketplace', 'azure'];
    const seen = await berth(...command, '--preview');
    expect([seen.code, seen.out]).toEqual([1, expect.stringContaining('line 3, UsageDate: "soon" is no day')]);
    expect((await berth(...command)).errors).toContain('usage_report.faults');
    writeFileSync(path, `${head}2026-03-10,somebody-else,stored,3\n`);
    const stored = await berth(...command, '--json');
    expect([stored.code, stored.errors]).toEqual([0, '']);
    const { reconciliationId } = JSON.parse(stored.out) as { reconciliationId: string };
    const run = await until(
      () => house.api('GET', `/reconciliations/${reconciliationId}`),
      (a) => a.json['state'] === 'done',
    );
    expect(run.json['comparisons']).toMatchObject([
      { kind: 'usage_report', compared: 0, reason: '1 lines name no purchase of ours and are left alone' },
    ]);
    expect((await house.api('GET', `/reconciliations/${reconciliationId}/lines`)).json.items).toMatchObject([
      { verdict: 'foreign', theirs: '3', externalSubscriptionId: 'somebody-else' },
    ]);
    expect((await berth(...command)).out).toContain('stored already');
    expect((await house.api('GET', '/usage-reports?marketplace=azure')).json.items).toHaveLength(1);
  });

  it('wrong questions are refused with a code, and what waits or was paid out is told', async () => {
    const wrong = async (body: unknown): Promise<unknown> => (await house.api('POST', '/reconciliations', body)).json['code'];
    expect(await wrong({ kinds: ['everything'] })).toBe('request.invalid');
    expect(await wrong({ from: '2026-03-02T00:00:00Z', to: '2026-03-02T00:00:00Z' })).toBe('reconciliation.empty_span');
    expect(await wrong({ from: '2020-03-02T00:00:00Z' })).toBe('reconciliation.span_too_long');
    expect((await house.api('GET', '/reconciliations/rcn_x')).status).toBe(404);
    expect((await berth('reconcile', '--from', 'yesterday')).code).toBe(2);
    expect((await berth('at-risk')).out).toContain('nothing waits');
    expect((await berth('payouts')).out).toContain('no payouts');
    expect((await berth('reconcile', '--help')).out).toContain('--wait');
  });
});
