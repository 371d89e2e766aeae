import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { uuidv7 } from '#platform';
import { DriverError, type DriverPlan, type ProvisioningDriver } from '#provisioning/core';
import { engineHarness, runOnce, START, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeAll(async () => {
  h = await engineHarness({ placementPolicy: { cellCapacity: 1 } });
});
afterAll(() => h?.close());
afterEach(() => {
  for (const method of ['preflight', 'plan', 'apply', 'delete', 'cancel', 'configure'] as const) h.driver.off(method);
});

const WHY = { by: 'operator:ann', reason: 'It takes too long.' };
const cluster = (id: string) => h.ops((tx) => h.engine.getCluster(tx, id));
const operation = (id: string | null) => h.ops((tx) => h.engine.getOperation(tx, id!));
const cancel = (id: string | null) => h.ops((tx) => h.engine.cancelOperation(tx, id!, WHY));
const openSteps = (id: string | null) =>
  h.one<{ n: string }>('select count(*) as n from operation_steps where operation_id = $1 and outcome_at is null', [id]);
const clusterOperation = async (id: string) =>
  (await h.ops((tx) => h.engine.listOperations(tx, { limit: 1 }, { subjectId: id }))).items[0]!;

async function serving() {
  const made = await h.request({ shape: 'large' });
  await h.settle();
  return { ...made, ...(await h.clusterOf(made.placementId)) };
}

/** Work that goes on until the driver is told to stop; answers with what handle it was. */
function slow(method: 'apply' | 'delete'): { told: string[] } {
  const told: string[] = [];
  h.driver.on(method, async () => ({
    handle: 'h1',
    phase: told.length > 0 ? 'cancelled' : 'running',
    progress: [{ step: 'boot', state: 'running', at: START, detail: 'node 1 of 3' }],
    ...(told.length > 0 ? {} : { retryAfterMs: 3_600_000 }),
  }));
  h.driver.on('cancel', async () => {
    told.push('h1');
    return { handle: 'h1', phase: 'cancelled', progress: [] };
  });
  return { told };
}

describe('work on a cluster that is stopped by a person', () => {
  it('ends where its driver stopped, at once although its next look was an hour away, and says that nothing was undone', async () => {
    const c = await serving();
    const driver = slow('apply');
    const { operationId } = await h.ops((tx) => h.engine.resizeCluster(tx, c.clusterId, { ...WHY, nodes: 3 }));
    await h.settle(60_000);
    expect((await operation(operationId)).state).toBe('running');
    await cancel(operationId);
    await cancel(operationId);
    await h.settle(60_000);
    expect(driver.told).toHaveLength(1);
    expect(await operation(operationId)).toMatchObject({
      state: 'cancelled',
      step: 3,
      error: { code: 'operation.cancelled', step: 'apply', detail: expect.stringContaining('not undone') },
    });
    expect(await openSteps(operationId)).toEqual({ n: '0' });
    // Building had begun: it is proved again before it counts as serving.
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 1, resize: null });
    await expect(cancel(operationId)).rejects.toMatchObject({ code: 'operation.in_state', extra: { state: 'cancelled' } });
    await expect(h.ops((tx) => h.engine.retryOperation(tx, operationId!))).rejects.toMatchObject({ code: 'operation.not_repeatable' });
  });

  it('is not tried again by a step that a busy driver refuses', async () => {
    h.driver.on('preflight', () => Promise.reject(new DriverError('throttled', 'place.busy', 'Later.')));
    const made = await h.request({ shape: 'large' });
    await h.drain();
    const { clusterId } = await h.clusterOf(made.placementId);
    const { operationId } = await clusterOperation(clusterId);
    await cancel(operationId);
    await h.settle(60_000);
    expect(await operation(operationId)).toMatchObject({ state: 'cancelled', error: { step: 'preflight' } });
    expect(await cluster(clusterId)).toMatchObject({ phase: 'failed', error: { code: 'operation.cancelled' } });
    h.driver.off('preflight');
    await h.ops((tx) => h.engine.retryOperation(tx, operationId));
    await h.settle();
    expect(await cluster(clusterId)).toMatchObject({ phase: 'active', error: null });
  });

  it('goes no further than the step that was already done', async () => {
    const c = await serving();
    let id: string | null = null;
    h.driver.on('plan', async (run) => {
      await cancel(id); // while the driver plans
      return run();
    });
    const applied = h.driver.count('apply');
    id = (await h.ops((tx) => h.engine.resizeCluster(tx, c.clusterId, { ...WHY, nodes: 3 }))).operationId;
    await h.settle(60_000);
    expect(h.driver.count('apply')).toBe(applied);
    expect(await operation(id)).toMatchObject({ state: 'cancelled', error: { step: 'planned' } });
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 1 });
  });

  it('may be a plan that waits for a decision', async () => {
    const c = await serving();
    h.driver.on('plan', async (run) => {
      const result = (await run()) as { output: DriverPlan };
      return { ...result, output: { ...result.output, destructive: true, destroys: ['node-1'] } };
    });
    const { operationId } = await h.ops((tx) => h.engine.resizeCluster(tx, c.clusterId, { ...WHY, nodes: 3 }));
    await h.settle(60_000);
    await cancel(operationId);
    await h.settle(60_000);
    expect(await operation(operationId)).toMatchObject({ state: 'cancelled' });
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', nodes: 1, plan: null });
    expect((await h.ops((tx) => h.engine.listPlans(tx, c.clusterId))).map((p) => p.state)).toEqual(['void']);
  });

  it('may be a retirement, which is not undone and goes on when it is tried again', async () => {
    const c = await serving();
    await h.ops((tx) => h.engine.endAccess(tx, c.placementId, { at: h.clock.now() }));
    await h.settle();
    await h.purge(c.placementId);
    await h.settle();
    slow('delete');
    const { operationId } = await h.ops((tx) => h.engine.retireCluster(tx, c.clusterId, { ...WHY, confirm: c.name }));
    await h.settle(60_000);
    await cancel(operationId);
    await h.settle(60_000);
    expect(await operation(operationId)).toMatchObject({ state: 'cancelled', error: { step: 'delete' } });
    h.driver.off('delete');
    await h.ops((tx) => h.engine.retryOperation(tx, operationId!));
    await h.settle();
    expect((await cluster(c.clusterId)).phase).toBe('retired');
  });

  it('is nothing about access, nothing whose change is made, and nothing that is not there', async () => {
    const c = await serving();
    h.driver.on('configure', () => Promise.reject(new DriverError('throttled', 'place.busy', 'Later.')));
    const { operationId } = await h.ops((tx) => h.engine.resizeCluster(tx, c.clusterId, { ...WHY, nodes: 3 }));
    const suspension = await h.ops((tx) => h.engine.suspend(tx, c.placementId, { reason: 'unpaid', at: h.clock.now() }));
    await h.drain();
    await expect(cancel(operationId)).rejects.toMatchObject({ code: 'operation.too_late', extra: { phase: 'configuring' } });
    await expect(cancel(suspension.operationId)).rejects.toMatchObject({ code: 'operation.not_cancellable' });
    await expect(cancel(uuidv7())).rejects.toMatchObject({ code: 'operation.unknown' });
  });
});

describe('the time a step may take', () => {
  it('is what its driver says for that step, and else the default', async () => {
    const port = new Proxy(h.driver.port, {
      get: (target, name) =>
        name === 'capabilities' ? () => ({ ...target.capabilities(), timeoutsMs: { apply: 40 } }) : (Reflect.get(target, name) as unknown),
    }) as ProvisioningDriver;
    const engine = h.another({ drivers: new Map([['fake', port]]), times: { patienceMs: 1_000 } });
    let running: 'apply' | 'configure' = 'apply';
    for (const method of ['apply', 'configure'] as const)
      h.driver.on(method, (run) =>
        running === method ? Promise.resolve({ handle: 'h1', phase: 'running', progress: [], retryAfterMs: 20 }) : run(),
      );
    const first = await h.clusterOf((await h.request({ shape: 'large' })).placementId);
    await runOnce(engine, first.clusterId);
    expect((await clusterOperation(first.clusterId)).error).toMatchObject({ code: 'step.timed_out', step: 'apply' });
    running = 'configure';
    const second = await h.clusterOf((await h.request({ shape: 'large' })).placementId);
    await runOnce(engine, second.clusterId);
    expect(await clusterOperation(second.clusterId)).toMatchObject({ state: 'running', phase: 'configuring' });
  });
});
