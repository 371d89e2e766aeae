import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { engineHarness, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeEach(async () => {
  h = await engineHarness();
});
afterEach(() => h?.close());

describe('supervision', () => {
  it('sends a cluster that is down to repair, once, and proves it before it is active again', async () => {
    const made = await h.serving();
    const validations = h.driver.count('validate');
    const fake = h.driver.fake.clusters.get(made.name)!;
    expect(await h.engine.supervise({ force: true })).toBe(0);
    fake.broken = true;
    expect(await h.engine.supervise()).toBe(0); // between two looks
    expect(await h.engine.supervise({ force: true })).toBe(1);
    expect(await h.engine.supervise({ force: true })).toBe(0);
    expect(await h.ops((tx) => h.engine.getCluster(tx, made.clusterId))).toMatchObject({ phase: 'degraded', observed: { health: 'down' } });
    h.driver.on('configure', async (run) => {
      fake.broken = false;
      return run();
    });
    await h.settle();
    expect(await h.ops((tx) => h.engine.getCluster(tx, made.clusterId))).toMatchObject({ phase: 'active', error: null });
    expect(h.driver.count('validate')).toBe(validations + 1);
    expect(await h.lastOperation(made.clusterId)).toMatchObject({ kind: 'repair_cluster', state: 'succeeded' });
    expect(h.eventsOf(made.placementId)).toEqual(['placement.active']);
  });

  it('never puts an empty cluster in the place of one that is lost', async () => {
    const made = await h.serving();
    const applied = h.driver.count('apply');
    h.driver.fake.clusters.delete(made.name);
    expect(await h.engine.supervise({ force: true })).toBe(1);
    await h.settle();
    expect(h.driver.count('apply')).toBe(applied);
    expect(await h.ops((tx) => h.engine.getCluster(tx, made.clusterId))).toMatchObject({
      phase: 'failed',
      error: { code: 'cluster.lost' },
    });
  });

  it('binds living cells again after the control plane was killed, and fences the dead one out', async () => {
    const made = await h.serving();
    const fence = Math.max(...h.driver.calls.map((c) => c.fencingToken));
    await h.ops((tx) => tx.query(`update clusters set lease_until = now() + interval '1 hour'`));
    const configured = h.driver.count('configure');
    expect(await h.another().adoptAll({ soleProcess: true })).toBe(1);
    await h.settle();
    expect(h.driver.count('configure')).toBe(configured + 1);
    expect(h.driver.calls.at(-1)!.fencingToken).toBeGreaterThan(fence);
    expect(h.driver.fake.clusters.get(made.name)!.placements.size).toBe(1);
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'active' });
    expect(h.eventsOf(made.placementId)).toEqual(['placement.active']);
  });
});
