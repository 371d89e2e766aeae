import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House, until } from './support/house.js';

type Row = Record<string, unknown>;

/** A purchase on hardware that people bring, from a closed gate to a serving endpoint, as operators see it. */
describe('a purchase that people build', () => {
  let house: House;
  beforeAll(async () => {
    house = await new House({ BERTH_SHAPE_DRIVERS: 'cell=manual' }).start();
  }, 60_000);
  afterAll(() => house?.stop());

  const post = (path: string, body: object): Promise<{ status: number; json: Row }> => house.api('POST', path, body);
  const items = async (path: string): Promise<Row[]> => (await house.api('GET', path)).json['items'] as Row[];
  const place = { variant: 'odm_edge', marketplace: 'azure', region: 'local' };
  const decide = (gate: string, state: string) =>
    post('/readiness/decisions', { ...place, gate, state, reason: 'As agreed with the site.' });

  it('waits for gates, then for people, and serves when the last has signed', async () => {
    const { sessionId } = await house.buy('North pole');
    const details = { organisation: 'North pole', region: 'local', contactName: 'Ada Winter', contactEmail: 'ada@winter.example' };
    const land = () => house.call('POST', `${house.controlPlane.url}/landing/api/sessions/${sessionId}/details`, details);
    expect(await land()).toMatchObject({ status: 422, json: { code: 'landing.not_ready', gate: 'variant.available' } });

    expect(await decide('blob.azcopy', 'green')).toMatchObject({ status: 422, json: { code: 'readiness.needs_proof' } });
    expect(await decide('variant.available', 'green')).toMatchObject({ status: 201, json: { decidedBy: expect.any(String) } });
    expect(await decide('variant.pilot', 'green')).toMatchObject({ status: 201 });
    const shape = { variant: 'odm_edge', region: '*', shape: 'cell', state: 'validated', reason: 'Ran in the lab for a month.' };
    expect(await land()).toMatchObject({ status: 422, json: { gate: 'shape.validated' } });
    expect(await post('/shapes', shape)).toMatchObject({ status: 200, json: { osVersion: '*' } });
    const plan = (await items('/readiness')).find(
      (p) => p['planId'] === 'standard' && p['marketplace'] === 'azure' && p['region'] === 'local',
    );
    expect(plan).toMatchObject({ variant: 'odm_edge', open: true });
    expect(await land()).toMatchObject({ status: 202 });

    const open = await until(
      () => items('/manual-steps'),
      (steps) => steps.length === 4,
    );
    expect(open.map((s) => [s['name'], s['owner'], s['state']])[0]).toEqual(['order_hardware', 'supply', 'open']);
    // Azure voids a purchase that is not activated within thirty days.
    const eta = new Date(Date.parse(String(open[1]!['eta'])) + 30 * 86_400_000).toISOString();
    expect(await post(`/manual-steps/${String(open[1]!['id'])}/eta`, { eta, reason: 'The ship is late.' })).toMatchObject({ status: 200 });
    const late = async (): Promise<(string | null)[]> =>
      (await items('/findings?kind=eta_after_deadline')).map((f) => (f['settlement'] as { kind: string } | null)?.kind ?? null);
    expect(await late()).toEqual([null]);
    // Back in time: nobody has to look after it. Late once more is another finding.
    const soon = String(open[1]!['eta']);
    expect(await post(`/manual-steps/${String(open[1]!['id'])}/eta`, { eta: soon, reason: 'It came by air.' })).toMatchObject({
      status: 200,
    });
    expect(await late()).toEqual(['release']);
    expect(await post(`/manual-steps/${String(open[1]!['id'])}/eta`, { eta, reason: 'It is held by customs.' })).toMatchObject({
      status: 200,
    });
    expect((await late()).sort()).toEqual([null, 'release'].sort());

    expect(await post(`/manual-steps/${String(open[0]!['id'])}/sign-off`, {})).toMatchObject({
      status: 422,
      json: { code: 'manual_step.evidence_missing' },
    });
    for (const step of open) {
      const path = `/manual-steps/${String(step['id'])}`;
      if (step['needsEvidence'])
        expect(await post(`${path}/evidence`, { text: 'Check list 12', url: 'https://site.example/12' })).toMatchObject({ status: 200 });
      expect(await post(`${path}/sign-off`, { note: null })).toMatchObject({
        status: 200,
        json: { state: 'done', signedBy: expect.any(String) },
      });
    }
    // The engine looks again within half a minute.
    await house.shop('POST', '/clock/advance', { seconds: 60 });
    await until(
      () => items('/placements'),
      ([placement]) => placement?.['phase'] === 'active',
    );
    await house.shop('POST', '/clock/advance', { seconds: 600 });
    await until(late, (all) => all.every((one) => one === 'release'));
    const [cluster] = await items('/clusters');
    expect(cluster).toMatchObject({ driver: 'manual', phase: 'active', cost: null, preflight: { ok: true } });
    expect((cluster!['preflight'] as { checks: Row[] }).checks).toContainEqual(expect.objectContaining({ name: 'people', result: 'warn' }));
    expect(await items('/manual-steps?all=true')).toHaveLength(4);
  }, 120_000);

  it('is sold without the pilot once its endpoint has passed, and not while creation is stopped', async () => {
    const [placement] = await items('/placements');
    const run = await post(`/placements/${String(placement!['id'])}/conformance-runs`, {});
    await until(
      () => house.api('GET', `/conformance-runs/${String(run.json['id'])}`),
      (a) => a.json['state'] === 'done',
    );
    await decide('variant.pilot', 'unknown');
    const gates = (await items('/readiness')).find(
      (p) => p['planId'] === 'standard' && p['marketplace'] === 'azure' && p['region'] === 'local',
    )!;
    expect(gates).toMatchObject({ open: true });
    expect(gates['gates']).toContainEqual(expect.objectContaining({ gate: 'blob.azcopy', state: 'green', required: true }));
    expect(await items('/readiness/decisions?variant=odm_edge')).toHaveLength(3);
    expect(await post('/provisioning/stop', { on: true, reason: 'Quota is short.' })).toMatchObject({ status: 200, json: { on: true } });
    expect((await house.api('GET', '/provisioning/stop')).json).toMatchObject({ on: true, reason: 'Quota is short.' });
    const [cluster] = await items('/clusters');
    const resize = { shape: 'cell-large', reason: 'More is needed.' };
    expect(await post(`/clusters/${String(cluster!['id'])}/resize`, resize)).toMatchObject({
      status: 503,
      json: { code: 'provisioning.stopped' },
    });
  }, 60_000);
});
