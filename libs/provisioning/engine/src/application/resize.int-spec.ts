import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidv7 } from '#platform';
import { DriverError, type DriverPlan } from '#provisioning/core';
import { engineHarness, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeAll(async () => {
  h = await engineHarness({ placementPolicy: { cellCapacity: 1 } });
});
afterAll(() => h?.close());

const WHY = { by: 'operator:ann', reason: 'It fills up.' };
const cluster = (id: string) => h.ops((tx) => h.engine.getCluster(tx, id));
const operation = (id: string | null) => h.ops((tx) => h.engine.getOperation(tx, id!));
const resize = (id: string, to: { shape?: string; nodes?: number; capacityBytes?: string | null }) =>
  h.ops((tx) => h.engine.resizeCluster(tx, id, { ...WHY, ...to }));
const phaseOf = async (id: string) => (await h.ops((tx) => h.engine.getPlacement(tx, id))).phase;

async function serving() {
  const made = await h.request({ shape: 'large' });
  await h.settle();
  return { ...made, ...(await h.clusterOf(made.placementId)) };
}

describe('another size of a cluster', () => {
  it('is checked, planned, built and proved, and its placements go on', async () => {
    const c = await serving();
    const before = (await h.ops((tx) => h.engine.getPlacement(tx, c.placementId))).endpoint;
    const { operationId } = await resize(c.clusterId, { nodes: 4 });
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'preflight', nodes: 4, resize: { from: { nodes: 1 }, ...WHY } });
    expect(await resize(c.clusterId, { nodes: 4 })).toEqual({ operationId });
    await h.settle();
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 4, resize: null, error: null });
    expect(await operation(operationId)).toMatchObject({ kind: 'resize_cluster', state: 'succeeded', step: 5, steps: 5 });
    expect((await h.ops((tx) => h.engine.listSteps(tx, operationId!))).map((s) => `${s.name} ${s.state}`)).toEqual([
      'preflight ok',
      'plan ok',
      'apply ok',
      'configure ok',
      'validate ok',
    ]);
    expect((await h.ops((tx) => h.engine.getPlacement(tx, c.placementId))).endpoint).toBe(before);
    expect(await resize(c.clusterId, { nodes: 4 })).toEqual({ operationId: null });
  });

  it('that adds nodes is not taken for a cluster that is lost', async () => {
    const c = await serving();
    h.driver.on('plan', async (run) => {
      const result = (await run()) as { output: DriverPlan };
      return { ...result, output: { ...result.output, create: 2 } };
    });
    try {
      const { operationId } = await resize(c.clusterId, { nodes: 3 });
      await h.settle();
      expect(await operation(operationId)).toMatchObject({ state: 'succeeded', error: null });
      expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 3 });
    } finally {
      h.driver.off('plan');
    }
  });

  it('that its driver does not offer is refused before anything begins', async () => {
    const c = await serving();
    await expect(resize(c.clusterId, { shape: 'huge' })).rejects.toMatchObject({ code: 'cluster.shape_unknown' });
    await expect(resize(c.clusterId, { nodes: 9 })).rejects.toMatchObject({ code: 'cluster.size_unsupported', extra: { maxNodes: 8 } });
    await expect(resize(uuidv7(), { nodes: 2 })).rejects.toMatchObject({ code: 'cluster.unknown' });
    await resize(c.clusterId, { nodes: 2 });
    await expect(resize(c.clusterId, { nodes: 3 })).rejects.toMatchObject({ code: 'cluster.in_state' });
    await h.settle();
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 2 });
  });

  it('for which there is no quota stops nobody: a suspension asked for meanwhile comes into force', async () => {
    const c = await serving();
    h.driver.on('apply', () => Promise.reject(new DriverError('quota', 'place.no_quota', 'No more nodes here.')));
    try {
      const proofs = h.driver.count('validate');
      const { operationId } = await resize(c.clusterId, { nodes: 5 });
      await h.ops((tx) => h.engine.suspend(tx, c.placementId, { reason: 'unpaid', at: h.clock.now() }));
      await h.settle();
      expect(await operation(operationId)).toMatchObject({ state: 'failed', error: { code: 'place.no_quota' } });
      expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 1, resize: null });
      // Building had begun: nobody knows what it left.
      expect(h.driver.count('validate')).toBeGreaterThan(proofs);
      expect(await phaseOf(c.placementId)).toBe('suspended');
      await expect(h.ops((tx) => h.engine.retryOperation(tx, operationId!))).rejects.toMatchObject({ code: 'operation.not_repeatable' });
    } finally {
      h.driver.off('apply');
    }
    await resize(c.clusterId, { nodes: 5 });
    await h.settle();
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 5, error: null });
  });

  it('of a cluster that is lost is not built in its place', async () => {
    const c = await serving();
    h.driver.on('plan', async (run) => {
      const result = (await run()) as { output: DriverPlan };
      return { ...result, output: { ...result.output, create: 4, update: 0 } };
    });
    try {
      const { operationId } = await resize(c.clusterId, { nodes: 3 });
      await h.settle();
      expect(await operation(operationId)).toMatchObject({ state: 'failed', error: { code: 'cluster.lost' } });
    } finally {
      h.driver.off('plan');
    }
  });
});
