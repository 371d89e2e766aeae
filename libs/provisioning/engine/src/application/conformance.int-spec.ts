import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DriverError } from '#provisioning/core';
import { engineHarness, type Harness } from '../testing/engine-harness.js';

let h: Harness;
let placementId: string;
beforeAll(async () => {
  h = await engineHarness();
  ({ placementId } = await h.request());
  await h.settle();
});
afterAll(() => h?.close());
beforeEach(() => {
  h.driver.off('openProbe');
  // Nobody listens there: the suite says so quickly.
  h.driver.fake.probe = { endpoint: 'http://127.0.0.1:9/probe1', accountName: 'probe1', secretBase64: 'cHJvYmU=' };
});

const ask = (id = placementId) => h.ops((tx) => h.engine.requestConformanceRun(tx, id, 'ann'));
const run = (runId: string) => h.ops((tx) => h.engine.getConformanceRun(tx, runId));

describe('a conformance run', () => {
  it('is kept with its result and evidence, and its account is closed', async () => {
    const { runId } = await ask();
    expect(await run(runId)).toMatchObject({ state: 'queued', result: null, suite: 'azcopy', requested_by: 'ann' });
    await expect(ask()).rejects.toMatchObject({ code: 'conformance.under_way' });
    await h.drain();
    const done = await run(runId);
    expect(done).toMatchObject({ state: 'done', result: 'unknown', error: null, probe_account: 'probe1', awaited: null });
    expect(done.rules.length).toBeGreaterThan(20);
    expect(done.rules[0]!.evidence[0]).toMatchObject({ request: 'PUT ?restype=container', status: null });
    expect(done.step).toBe(done.steps);
    expect([...h.driver.fake.openProbes]).toEqual([]);
    expect(JSON.stringify(done)).not.toContain('cHJvYmU');
    const { items } = await h.ops((tx) => h.engine.listConformanceRuns(tx, placementId, { limit: 1 }));
    expect(items.map((r) => r.run_id)).toEqual([runId]);
  });

  it('fails with the driver’s word when nobody is let in, which says nothing of the endpoint', async () => {
    h.driver.on('openProbe', () => Promise.reject(new DriverError('permission', 'probe.refused', 'No more accounts.')));
    const { runId } = await ask();
    await h.drain();
    expect(await run(runId)).toMatchObject({ state: 'failed', result: null, error: { class: 'permission', code: 'probe.refused' } });
  });

  it('is begun again after its worker died, closes the account of the first try, and is given up after three', async () => {
    const { runId } = await ask();
    await h.ops((tx) =>
      tx.query(`update conformance_runs set state = 'running', attempts = 1, probe_account = 'left' where run_id = $1`, [runId]),
    );
    h.driver.fake.openProbes.add('left');
    await h.drain();
    expect(await run(runId)).toMatchObject({ state: 'done', attempts: 2 });
    expect([...h.driver.fake.openProbes]).toEqual([]);
    const { runId: doomed } = await ask();
    await h.ops((tx) => tx.query(`update conformance_runs set state = 'running', attempts = 3 where run_id = $1`, [doomed]));
    await h.drain();
    expect(await run(doomed)).toMatchObject({ state: 'failed', error: { code: 'conformance.given_up' } });
  });

  it('is refused for a placement that does not serve, and where the driver lets no suite in', async () => {
    const { placementId: held } = await h.request();
    await expect(ask(held)).rejects.toMatchObject({ code: 'placement.in_state' });
    await h.settle();
    const { placementId: other } = await h.request({ shape: 'small', region: 'there' });
    await h.settle();
    h.driver.can = { probes: false };
    await expect(ask(other)).rejects.toMatchObject({ code: 'conformance.unsupported' });
    h.driver.can = { protocols: ['s3'] };
    await expect(ask(other)).rejects.toMatchObject({ code: 'conformance.unsupported' });
    h.driver.can = {};
  });

  it('a placement tells how to sign in at its endpoint', async () => {
    const placement = await h.ops((tx) => h.engine.getPlacement(tx, placementId));
    expect(placement.endpointDescription).toEqual({ protocol: 'azure-blob', signInModes: ['shared_key', 'sas'] });
  });
});
