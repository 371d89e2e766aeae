import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { engineHarness, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeAll(async () => {
  h = await engineHarness({ placementPolicy: { cellCapacity: 1 } });
});
afterAll(() => h?.close());
afterEach(() => h.driver.off('preflight'));

const WHY = { by: 'operator:ann', reason: 'The route is there now.' };
const say = (result: 'unknown' | 'fail' | 'warn', ok = false): void =>
  h.driver.on('preflight', async () => ({
    handle: 'p',
    phase: 'succeeded',
    progress: [],
    output: { ok, checks: [{ name: 'route', result, detail: 'There is no route to the private network.' }] },
  }));
async function ordered() {
  const made = await h.request();
  await h.settle();
  const { clusterId, name } = await h.clusterOf(made.placementId);
  return { ...made, clusterId, name, cluster: await h.ops((tx) => h.engine.getCluster(tx, clusterId)) };
}

describe('checks before any cost', () => {
  it('that could not be judged are never taken for yes: asked again, and then a person is, with nothing built', async () => {
    say('unknown');
    const asked = h.driver.count('preflight');
    const { cluster, name, clusterId, operationId } = await ordered();
    expect(cluster).toMatchObject({ phase: 'failed', error: { class: 'unknown', code: 'preflight.unknown' } });
    expect(h.driver.count('preflight') - asked).toBeGreaterThan(3);
    expect(h.driver.fake.clusters.has(name)).toBe(false);
    h.driver.off('preflight');
    await h.ops((tx) => h.engine.retryOperation(tx, operationId));
    await h.settle();
    expect(await h.ops((tx) => h.engine.getCluster(tx, clusterId))).toMatchObject({ phase: 'active', error: null });
  });

  it('that say no stop at once, and name what says so', async () => {
    say('fail');
    const asked = h.driver.count('preflight');
    const { cluster, name } = await ordered();
    expect(cluster).toMatchObject({ phase: 'failed', error: { code: 'preflight.failed', detail: expect.stringContaining('no route') } });
    expect(h.driver.count('preflight') - asked).toBe(1);
    expect(h.driver.fake.clusters.has(name)).toBe(false);
  });

  it('of another size that say no leave the size as it is', async () => {
    const made = await ordered();
    say('fail');
    const { operationId } = await h.ops((tx) => h.engine.resizeCluster(tx, made.clusterId, { ...WHY, shape: 'large' }));
    await h.settle();
    expect(await h.ops((tx) => h.engine.getOperation(tx, operationId!))).toMatchObject({
      state: 'failed',
      error: { code: 'preflight.failed' },
    });
    expect(await h.ops((tx) => h.engine.getCluster(tx, made.clusterId))).toMatchObject({ phase: 'active', shape: 'small' });
  });

  it('that only warn are no reason to stop', async () => {
    say('warn', true);
    expect((await ordered()).cluster).toMatchObject({ phase: 'active' });
  });
});
