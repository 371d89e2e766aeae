import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engineHarness, runOnce, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeAll(async () => {
  h = await engineHarness({ placementPolicy: { cellCapacity: 1 }, times: { patienceMs: 20, leaseMs: 600 } });
});
afterAll(() => h?.close());

const leaseOf = (clusterId: string) =>
  h.one<{ fence: string; held: boolean }>('select fence, lease_until > now() as held from clusters where cluster_id = $1', [clusterId]);

/** A cluster whose building has begun in the first worker and goes on; `ready` lets it come to its end. */
async function building() {
  let ready = false;
  h.driver.on('apply', async (run) => (ready ? run() : { handle: 'h1', phase: 'running', progress: [], retryAfterMs: 1_000 }));
  const { clusterId } = await h.clusterOf((await h.request()).placementId);
  await runOnce(h.engine, clusterId);
  return { clusterId, ready: () => (ready = true), ...(await leaseOf(clusterId)) };
}

describe('a cluster at which a driver works for long', () => {
  it('stays with the worker in whose process that is: another one does not begin the same work anew', async () => {
    const { clusterId, fence, ready } = await building();
    const asked = h.driver.count('apply');
    const until = () => h.one<{ lease_until: Date }>('select lease_until from clusters where cluster_id = $1', [clusterId]);
    const first = (await until()).lease_until;
    // Nobody runs, and it is renewed.
    await expect.poll(async () => (await until()).lease_until > first, { timeout: 5_000 }).toBe(true);
    expect(await runOnce(h.another(), clusterId)).toMatchObject({ reason: expect.stringContaining('another worker holds') });
    expect(h.driver.count('apply')).toBe(asked);
    ready();
    await runOnce(h.engine, clusterId);
    expect(await leaseOf(clusterId)).toEqual({ fence, held: null });
    expect(await h.ops((tx) => h.engine.getCluster(tx, clusterId))).toMatchObject({ phase: 'active' });
  });

  it('is another worker’s at once when its own ends gracefully', async () => {
    const { clusterId, fence, ready } = await building();
    expect((await leaseOf(clusterId)).held).toBe(true);
    await h.engine.stop();
    ready();
    await runOnce(h.another(), clusterId);
    expect(Number((await leaseOf(clusterId)).fence)).toBe(Number(fence) + 1);
    expect(await h.ops((tx) => h.engine.getCluster(tx, clusterId))).toMatchObject({ phase: 'active' });
  });

  it('is lost to whoever took it over, and no renewal takes it back', async () => {
    const { clusterId, ready } = await building();
    await h.ops((tx) => tx.query(`update clusters set lease_until = now() - interval '1 second' where cluster_id = $1`, [clusterId]));
    const other = h.another({ times: { patienceMs: 20, leaseMs: 60_000 } });
    await runOnce(other, clusterId);
    const { fence } = await leaseOf(clusterId);
    ready();
    expect(await runOnce(h.engine, clusterId)).toMatchObject({ reason: expect.stringContaining('another worker holds') });
    expect((await leaseOf(clusterId)).fence).toBe(fence);
    await other.stop();
  });
});
