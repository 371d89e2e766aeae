import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DriverError, type DriverPlan } from '#provisioning/core';
import { engineHarness, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeAll(async () => {
  h = await engineHarness({ placementPolicy: { cellCapacity: 1 } });
});
afterAll(() => h?.close());
afterEach(() => {
  for (const method of ['plan', 'apply', 'configure'] as const) h.driver.off(method);
});

const WHY = { by: 'operator:ann', reason: 'It fills up.' };
const BOB = { by: 'operator:bob', reason: 'The copy is elsewhere.' };
const cluster = (id: string) => h.ops((tx) => h.engine.getCluster(tx, id));
const operation = (id: string | null) => h.ops((tx) => h.engine.getOperation(tx, id!));
const plans = (id: string) => h.ops((tx) => h.engine.listPlans(tx, id));
const phaseOf = async (id: string) => (await h.ops((tx) => h.engine.getPlacement(tx, id))).phase;
const approve = (id: string, hash: string, destroys: string[]) =>
  h.ops((tx) => h.engine.decidePlan(tx, id, hash, { ...BOB, decision: 'approve', destroys }));
const reject = (id: string, hash: string) => h.ops((tx) => h.engine.decidePlan(tx, id, hash, { ...BOB, decision: 'reject' }));
const suspend = (placementId: string) => h.ops((tx) => h.engine.suspend(tx, placementId, { reason: 'unpaid', at: h.clock.now() }));

/** From here on the driver's plans lose two nodes. */
function lose(destroys = ['node-1', 'node-2']): void {
  h.driver.on('plan', async (run) => {
    const result = (await run()) as { output: DriverPlan };
    return { ...result, output: { ...result.output, destructive: true, destroys, cost: { amountPerHour: '3.50', currency: 'USD' } } };
  });
}

/** A cluster that serves, and whose other size would lose data. */
async function waiting() {
  const made = await h.request({ shape: 'large' });
  await h.settle();
  const c = { ...made, ...(await h.clusterOf(made.placementId)) };
  lose();
  const { operationId } = await h.ops((tx) => h.engine.resizeCluster(tx, c.clusterId, { ...WHY, nodes: 3 }));
  await h.settle(60_000);
  return { ...c, resize: operationId!, hash: (await cluster(c.clusterId)).plan!.hash, applied: h.driver.count('apply') };
}

describe('a plan that destroys data', () => {
  it('waits for a person, in sight, while the cluster serves', async () => {
    const c = await waiting();
    expect(await cluster(c.clusterId)).toMatchObject({
      phase: 'approval',
      error: null,
      plan: {
        hash: c.hash,
        destroys: ['node-1', 'node-2'],
        cost: { amountPerHour: '3.50', currency: 'USD' },
        expiresAt: expect.any(String),
        operationId: c.resize,
      },
    });
    expect(JSON.stringify(await cluster(c.clusterId))).not.toContain('artefact');
    expect(await operation(c.resize)).toMatchObject({ state: 'running', phase: 'approval', awaited: 'a decision of the operator' });
    expect(await phaseOf(c.placementId)).toBe('active');
    h.driver.fake.write(c.name, c.placementId, 'a', 'still served');
  });

  it('is executed exactly when its hash is approved and everything that is lost is named', async () => {
    const c = await waiting();
    await expect(approve(c.clusterId, 'f'.repeat(64), ['node-1', 'node-2'])).rejects.toMatchObject({ code: 'plan.unknown' });
    for (const names of [[], ['node-1'], ['node-1', 'node-3'], ['node-1', 'node-2', 'node-3']])
      await expect(approve(c.clusterId, c.hash, names)).rejects.toMatchObject({
        code: 'plan.not_confirmed',
        extra: { destroys: ['node-1', 'node-2'] },
      });
    await h.settle(60_000);
    expect(h.driver.count('apply')).toBe(c.applied);

    expect(await approve(c.clusterId, c.hash, ['node-2', 'node-1'])).toMatchObject({ state: 'approved', decidedBy: 'operator:bob' });
    expect(await approve(c.clusterId, c.hash, ['node-2', 'node-1'])).toMatchObject({ state: 'approved' });
    await expect(reject(c.clusterId, c.hash)).rejects.toMatchObject({ code: 'plan.in_state', extra: { state: 'approved' } });
    await h.settle();
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 3, plan: null, resize: null, error: null });
    expect(await operation(c.resize)).toMatchObject({ state: 'succeeded' });
    expect(await plans(c.clusterId)).toMatchObject([{ hash: c.hash, state: 'applied', decidedBy: 'operator:bob', reason: BOB.reason }]);
  });

  it('is given up when it is rejected: the cluster keeps its size and serves', async () => {
    const c = await waiting();
    await reject(c.clusterId, c.hash);
    await h.settle();
    expect(h.driver.count('apply')).toBe(c.applied);
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 1, plan: null, resize: null });
    expect(await operation(c.resize)).toMatchObject({ state: 'failed', error: { code: 'plan.rejected', step: 'approval' } });
    expect(await phaseOf(c.placementId)).toBe('active');
    await expect(approve(c.clusterId, c.hash, ['node-1', 'node-2'])).rejects.toMatchObject({ code: 'plan.in_state' });
  });

  it('holds up no suspension, and goes on waiting behind it', async () => {
    const c = await waiting();
    await suspend(c.placementId);
    await h.settle(60_000);
    expect(await phaseOf(c.placementId)).toBe('suspended');
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'approval', plan: { hash: c.hash } });
    expect(await operation(c.resize)).toMatchObject({ state: 'running', phase: 'approval' });
    expect(h.driver.count('apply')).toBe(c.applied);
    await h.ops((tx) => h.engine.resume(tx, c.placementId));
    await h.settle(60_000);
    expect(await phaseOf(c.placementId)).toBe('active'); // proved, and waiting again
    expect((await cluster(c.clusterId)).phase).toBe('approval');
    await approve(c.clusterId, c.hash, ['node-1', 'node-2']);
    await h.settle();
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 3 });
    expect(await operation(c.resize)).toMatchObject({ state: 'succeeded' });
  });

  it('goes on waiting when a wish behind it does not succeed', async () => {
    const c = await waiting();
    h.driver.on('configure', () => Promise.reject(new DriverError('permission', 'place.denied', 'No right.')));
    const { operationId } = await suspend(c.placementId);
    await h.settle(60_000);
    expect(await operation(operationId)).toMatchObject({ state: 'failed', error: { code: 'place.denied' } });
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'approval', error: { code: 'place.denied' }, plan: { hash: c.hash } });
    expect(await operation(c.resize)).toMatchObject({ state: 'running' });
    h.driver.off('configure');
    await h.ops((tx) => h.engine.retryOperation(tx, operationId!));
    await h.settle(60_000);
    expect(await phaseOf(c.placementId)).toBe('suspended');
    expect((await cluster(c.clusterId)).phase).toBe('approval');
  });

  it('that has expired is made anew, and what was approved before counts for nothing', async () => {
    const c = await waiting();
    h.clock.advance(3_600_001);
    await expect(approve(c.clusterId, c.hash, ['node-1', 'node-2'])).rejects.toMatchObject({ code: 'plan.expired' });
    await h.engine.supervise({ force: true });
    await h.settle(60_000);
    // The same content has the same hash: it is the decision that is asked for again.
    expect(await plans(c.clusterId)).toMatchObject([
      { hash: c.hash, state: 'waiting' },
      { hash: c.hash, state: 'expired' },
    ]);
    expect(h.driver.count('apply')).toBe(c.applied);
    await approve(c.clusterId, c.hash, ['node-1', 'node-2']);
    await h.settle();
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 3 });
  });

  it('that was approved and no longer fits what is there is made anew, and asks again', async () => {
    const c = await waiting();
    h.driver.fake.clusters.get(c.name)!.serial += 1;
    await approve(c.clusterId, c.hash, ['node-1', 'node-2']);
    await h.settle(60_000);
    const after = await cluster(c.clusterId);
    expect(after).toMatchObject({ phase: 'approval', nodes: 3 });
    expect(after.plan!.hash).not.toBe(c.hash);
    expect((await plans(c.clusterId)).map((p) => p.state)).toEqual(['waiting', 'stale']);
    expect(h.driver.fake.clusters.get(c.name)!.spec.nodes).toBe(1);
    await approve(c.clusterId, after.plan!.hash, ['node-1', 'node-2']);
    await h.settle();
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 3 });
  });

  it('gives way to a repair when the cluster goes down while it waits', async () => {
    const c = await waiting();
    h.driver.off('plan');
    const fake = h.driver.fake.clusters.get(c.name)!;
    fake.broken = true;
    expect(await h.engine.supervise({ force: true })).toBe(1);
    h.driver.on('configure', (run) => ((fake.broken = false), run()));
    await h.settle();
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 1, plan: null, resize: null });
    expect(await operation(c.resize)).toMatchObject({ state: 'failed', error: { code: 'cluster.down' } });
    expect((await plans(c.clusterId)).map((p) => p.state)).toEqual(['void']);
  });

  it('of a repair that is rejected leaves the cluster to a person', async () => {
    const made = await h.request({ shape: 'large' });
    await h.settle();
    const { clusterId, name } = await h.clusterOf(made.placementId);
    h.driver.fake.clusters.get(name)!.broken = true;
    lose(['node-9']);
    await h.engine.supervise({ force: true });
    await h.settle(60_000);
    const { plan } = await cluster(clusterId);
    expect(plan).toMatchObject({ destroys: ['node-9'] });
    await reject(clusterId, plan!.hash);
    await h.settle();
    expect(await cluster(clusterId)).toMatchObject({ phase: 'failed', plan: null, error: { code: 'plan.rejected' } });
  });
});
