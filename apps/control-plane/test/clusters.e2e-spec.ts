import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { House, until } from './support/house.js';

const WHY = { reason: 'The hall is being emptied' };

describe('an operator and the clusters', () => {
  let house: House;
  beforeAll(async () => {
    house = await new House().start();
  }, 60_000);
  afterAll(() => house?.stop());

  const bought = new Map<string, string>();
  /** A purchase that serves; answers its cluster. */
  async function served(name: string): Promise<Record<string, unknown>> {
    const { sessionId, externalId } = await house.buy(name);
    bought.set(name, externalId);
    await house.call('POST', `${house.controlPlane.url}/landing/api/sessions/${sessionId}/details`, {
      organisation: name,
      region: 'local',
      contactName: 'Ada Winter',
      contactEmail: 'ada@winter.example',
    });
    await until(
      () => house.session(sessionId),
      (a) => a.json['state'] === 'ready',
    );
    const [placement] = (await house.api('GET', '/placements')).json['items'] as Record<string, unknown>[];
    return (await house.api('GET', `/clusters/${String(placement!['clusterId'])}`)).json;
  }

  /** The endpoint's proof, as an operator asks for it on the command line. */
  async function judged(): Promise<void> {
    const [placement] = (await house.api('GET', '/placements')).json['items'] as Record<string, unknown>[];
    expect(placement!['endpointDescription']).toEqual({ protocol: 'azure-blob', signInModes: ['shared_key', 'sas'] });
    const [code, out, errors] = await new Promise<[number, string, string]>((resolve) => {
      execFile(
        process.execPath,
        [join(projectRoot(), 'dist/apps/cli/src/main.js'), 'conformance', String(placement!['id']), '--wait', '--evidence'],
        { env: { PATH: process.env['PATH'], BERTH_URL: house.controlPlane.url, BERTH_KEY: house.key }, timeout: 60_000 },
        (error, said, told) => resolve([error ? Number(error.code ?? 1) : 0, said, told]),
      );
    });
    expect({ code, errors }).toMatchObject({ code: 0, errors: expect.stringMatching(/^(?:waits for a worker|\d+ of \d+: )/) });
    expect(out).toMatch(/put_block_from_url +not supported +optional +it was answered 501 APINotImplemented/);
    expect(out).toMatch(/append_blob +out of contract/);
    expect(out).toContain('PUT ?comp=blocklist -> 400 InvalidBlockList');
    const { items } = (await house.api('GET', `/placements/${String(placement!['id'])}/conformance-runs`)).json as { items: object[] };
    expect(items).toMatchObject([{ state: 'done', result: 'pass', suiteVersion: '1', error: null }]);
  }

  it('keep new placements away from one, may take none down that holds a tenant’s data, and are told why', async () => {
    const first = await served('First');
    expect(first).toMatchObject({ phase: 'active', placements: 1, cordonedAt: null, retirement: null, retiredAt: null });
    const path = `/clusters/${String(first['id'])}`;
    const name = String(first['name']);
    expect(await house.api('POST', `${path}/cordon`, WHY, '')).toMatchObject({ status: 401 });
    expect(await house.api('POST', `${path}/cordon`, {})).toMatchObject({ status: 400, json: { code: 'request.invalid' } });
    expect(await house.api('POST', `${path}/retire`, { ...WHY, confirm: 'another' })).toMatchObject({
      status: 422,
      json: { code: 'cluster.not_confirmed' },
    });
    expect(await house.api('POST', `${path}/retire`, { ...WHY, confirm: name })).toMatchObject({
      status: 409,
      json: { code: 'cluster.not_empty', placements: { active: 1 } },
    });
    expect(await house.api('POST', '/clusters/clu_nonsense/cordon', WHY)).toMatchObject({ status: 404 });

    expect(await house.api('POST', `${path}/resize`, WHY)).toMatchObject({ status: 400, json: { code: 'request.invalid' } });
    expect(await house.api('POST', `${path}/resize`, { ...WHY, nodes: 9 })).toMatchObject({
      status: 422,
      json: { code: 'cluster.size_unsupported', maxNodes: 1 },
    });
    const larger = await house.api('POST', `${path}/resize`, { ...WHY, shape: 'cell-large' });
    expect(larger).toMatchObject({ status: 202, json: { resize: { from: { shape: 'cell' } } } });
    // A real cell: built over, configured, and its data path proved again.
    const done = await until(
      () => house.api('GET', `/operations/${String(larger.json['operationId'])}`),
      (a) => a.json['state'] !== 'running',
    );
    expect(done.json).toMatchObject({ kind: 'resize_cluster', state: 'succeeded', error: null });
    expect((await house.api('GET', path)).json).toMatchObject({ phase: 'active', shape: 'cell-large', resize: null, placements: 1 });
    expect(await house.api('POST', `${path}/resize`, { ...WHY, shape: 'cell' })).toMatchObject({ status: 202 });

    await until(
      () => house.api('GET', path),
      (a) => a.json['phase'] === 'active',
    );
    expect(await house.api('POST', `${path}/upgrade`, { ...WHY, version: '9' })).toMatchObject({
      status: 422,
      json: { code: 'cluster.version_unsupported', offered: ['3.35.0', '3.35.0-2'] },
    });
    const version = '3.35.0-2';
    expect(await house.api('POST', `${path}/upgrade`, { ...WHY, version, notAfter: '2099-01-01T00:00:00Z' })).toMatchObject({
      status: 400,
    });
    const booked = await house.api('POST', `${path}/upgrade`, { ...WHY, version, notBefore: '2098-01-01T00:00:00Z' });
    expect(booked).toMatchObject({
      status: 202,
      json: { phase: 'active', upgrade: null, booked: { to: version, notBefore: '2098-01-01T00:00:00.000Z', notAfter: null } },
    });
    const booking = `/operations/${String(booked.json['operationId'])}`;
    expect((await house.api('GET', booking)).json).toMatchObject({
      state: 'running',
      phase: 'booked',
      awaited: 'its window, from 2098-01-01T00:00:00.000Z',
    });
    expect(await house.api('POST', `${booking}/cancel`, WHY)).toMatchObject({ status: 202, json: { state: 'cancelled' } });
    expect((await house.api('GET', path)).json).toMatchObject({ phase: 'active', booked: null, error: null });
    const newer = await house.api('POST', `${path}/upgrade`, { ...WHY, version: '3.35.0-2' });
    expect(newer).toMatchObject({ status: 202, json: { phase: 'upgrading', upgrade: { to: '3.35.0-2' } } });
    const upgraded = await until(
      () => house.api('GET', `/operations/${String(newer.json['operationId'])}`),
      (a) => a.json['state'] !== 'running',
    );
    expect(upgraded.json).toMatchObject({ kind: 'upgrade_cluster', state: 'succeeded', error: null });
    expect(await house.api('POST', `/operations/${String(newer.json['operationId'])}/cancel`, WHY)).toMatchObject({
      status: 409,
      json: { code: 'operation.in_state' },
    });
    await until(
      () => house.api('GET', path),
      (a) => (a.json['observed'] as { version: string } | null)?.version === '3.35.0-2',
    );

    await judged();
    expect(await house.api('POST', `${path}/cordon`, WHY)).toMatchObject({ status: 200, json: { cordonedAt: expect.any(String) } });
    const second = await served('Second');
    expect(second['id']).not.toBe(first['id']);
    expect((await house.api('GET', path)).json).toMatchObject({ phase: 'active', placements: 1 });
    expect(await house.api('POST', `${path}/uncordon`, WHY)).toMatchObject({ status: 200, json: { cordonedAt: null } });
    const listed = (await house.api('GET', '/clusters')).json['items'] as Record<string, unknown>[];
    expect(listed.map((c) => c['id']).sort()).toEqual([first['id'], second['id']].sort());
  }, 120_000);

  it('let more be built for one purchase than its plan says, in sight, and take that back', async () => {
    const { id } = await house.subscriptionOf(bought.get('First')!);
    const path = `/subscriptions/${String(id)}/build-limits`;
    expect((await house.api('GET', path)).json).toEqual({ plan: null, override: null, effective: null, history: [] });
    expect(await house.api('POST', path, WHY)).toMatchObject({ status: 400, json: { code: 'request.invalid' } });
    expect(await house.api('POST', path, { ...WHY, maxNodes: 0 })).toMatchObject({ status: 400 });
    expect(await house.api('POST', `${path}/remove`, WHY)).toMatchObject({ status: 409, json: { code: 'limits.none' } });
    expect(
      await house.api('POST', '/subscriptions/sub_00000000-0000-4000-8000-000000000000/build-limits', { ...WHY, maxNodes: 2 }),
    ).toMatchObject({
      status: 404,
    });
    const limits = { maxNodes: 2, maxCostPerHour: { amountPerHour: '9.5', currency: 'EUR' } };
    expect(await house.api('POST', path, { ...WHY, ...limits })).toMatchObject({
      status: 200,
      json: { plan: null, override: { limits, ...WHY, by: expect.stringMatching(/^operator:/) }, effective: limits },
    });
    expect(await house.api('POST', `${path}/remove`, WHY)).toMatchObject({ status: 200, json: { override: null, effective: null } });
    expect(((await house.api('GET', path)).json['history'] as object[]).length).toBe(2);
    expect(await house.sql(`select action from audit_events where action like 'build_limits.%' order by audit_event_id`)).toEqual([
      { action: 'build_limits.overridden' },
      { action: 'build_limits.restored' },
    ]);
  });

  it('take one down when its last tenant has gone and his retention is over: process, folder and key are gone too', async () => {
    const [second] = (await house.api('GET', '/clusters')).json['items'] as Record<string, unknown>[];
    const [path, name] = [`/clusters/${String(second!['id'])}`, String(second!['name'])];
    const cells = (): string[] =>
      execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
        .split('\n')
        .filter((line) => line.includes(name));
    expect(cells().length).toBeGreaterThan(0);
    expect(existsSync(join(house.folder, 'berth', 'cells', 'cells', name))).toBe(true);
    await house.shop('POST', `/azure/subscriptions/${bought.get('Second')!}/unsubscribe`, {});
    for (let day = 0; day < 9; day += 1) await house.shop('POST', '/clock/advance', { seconds: 86_400, stepSeconds: 21_600 });
    await until(
      () => house.api('GET', path),
      (a) => a.json['placements'] === 0,
    );
    const retired = await house.api('POST', `${path}/retire`, { ...WHY, confirm: name });
    expect(retired).toMatchObject({ status: 202, json: { cordonedAt: expect.any(String) } });
    const done = await until(
      () => house.api('GET', `/operations/${String(retired.json['operationId'])}`),
      (a) => a.json['state'] !== 'running',
    );
    expect(done.json).toMatchObject({ kind: 'retire_cluster', state: 'succeeded', error: null });
    expect((await house.api('GET', path)).json).toMatchObject({
      phase: 'retired',
      retiredAt: expect.any(String),
      retirement: { survivors: [] },
    });
    expect(cells()).toEqual([]);
    expect(existsSync(join(house.folder, 'berth', 'cells', 'cells', name))).toBe(false);
    expect(
      await house.sql(`select count(*)::int as n from api_keys where kind = 'cell' and name = $1 and revoked_at is null`, [name]),
    ).toEqual([{ n: 0 }]);
    expect(await house.api('POST', `${path}/cordon`, WHY)).toMatchObject({ status: 409, json: { code: 'cluster.in_state' } });
  }, 180_000);
});
