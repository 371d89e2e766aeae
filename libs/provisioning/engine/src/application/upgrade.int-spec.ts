import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DriverError } from '#provisioning/core';
import { engineHarness, START, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeAll(async () => {
  h = await engineHarness({ placementPolicy: { cellCapacity: 1 } });
});
afterAll(() => h?.close());
afterEach(() => {
  for (const method of ['upgrade', 'validate', 'cancel'] as const) h.driver.off(method);
});

const WHY = { by: 'operator:ann', reason: 'It saves sooner.' };
const cluster = (id: string) => h.ops((tx) => h.engine.getCluster(tx, id));
const operation = (id: string | null) => h.ops((tx) => h.engine.getOperation(tx, id!));
const upgrade = (id: string, version = '2') => h.ops((tx) => h.engine.upgradeCluster(tx, id, { ...WHY, version }));
const phaseOf = async (id: string) => (await h.ops((tx) => h.engine.getPlacement(tx, id))).phase;
const fakeOf = (name: string) => h.driver.fake.clusters.get(name)!;
const stepsOf = async (id: string | null) => (await h.ops((tx) => h.engine.listSteps(tx, id!))).map((s) => `${s.name} ${s.state}`);

async function serving() {
  const made = await h.request();
  await h.settle();
  return { ...made, ...(await h.clusterOf(made.placementId)) };
}

describe('another version of a cluster', () => {
  it('is put there, configured and proved, and its placements go on', async () => {
    const c = await serving();
    h.driver.fake.write(c.name, c.placementId, 'a', 'kept');
    const proofs = h.driver.count('validate');
    const { operationId } = await upgrade(c.clusterId);
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'upgrading', upgrade: { to: '2', ...WHY } });
    expect(await upgrade(c.clusterId)).toEqual({ operationId });
    await h.settle();
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', version: '2', upgrade: null, error: null });
    expect(await operation(operationId)).toMatchObject({ kind: 'upgrade_cluster', state: 'succeeded', step: 3, steps: 3 });
    expect(await stepsOf(operationId)).toEqual(['upgrade ok', 'configure ok', 'validate ok']);
    expect(h.driver.count('validate')).toBe(proofs + 1);
    expect(fakeOf(c.name).spec.version).toBe('2');
    expect(h.driver.fake.read(c.name, c.placementId, 'a')).toBe('kept');
    await h.engine.supervise({ force: true });
    expect(await upgrade(c.clusterId)).toEqual({ operationId: null });
    // There is no way back, and a repair or resize does not go it either.
    await expect(upgrade(c.clusterId, '1')).rejects.toMatchObject({ code: 'cluster.version_unsupported', extra: { offered: ['2'] } });
  });

  it('that is not offered is refused, and so is a second one in the same place', async () => {
    const [first, second] = [await serving(), await serving()];
    await expect(upgrade(first.clusterId, '9')).rejects.toMatchObject({ code: 'cluster.version_unsupported' });
    await upgrade(first.clusterId);
    await expect(upgrade(second.clusterId)).rejects.toMatchObject({ code: 'cluster.upgrade_busy', extra: { cluster: first.name } });
    await expect(h.ops((tx) => h.engine.resizeCluster(tx, first.clusterId, { ...WHY, shape: 'large' }))).rejects.toMatchObject({
      code: 'cluster.in_state',
    });
    await h.settle();
    await upgrade(second.clusterId);
    await h.settle();
    expect(fakeOf(second.name).spec.version).toBe('2');
  });

  it('goes on where a dead worker stopped: the driver is asked for the very same upgrade', async () => {
    const c = await serving();
    const before = h.driver.count('upgrade');
    h.driver.on('upgrade', async (run, nth) => {
      const answer = await run();
      if (nth === before + 1) throw new DriverError('unknown', 'driver.lost', 'The answer was lost.');
      return answer;
    });
    const { operationId } = await upgrade(c.clusterId);
    await h.settle();
    expect(
      new Set(
        h.driver
          .of('upgrade')
          .slice(before)
          .map((c) => c.operationId),
      ).size,
    ).toBe(1);
    expect(fakeOf(c.name).serial).toBe(2);
    expect(await operation(operationId)).toMatchObject({ state: 'succeeded' });
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', version: '2' });
  });

  it('that does not come about holds up no suspension: the cluster is proved as it is', async () => {
    const c = await serving();
    h.driver.on('upgrade', () => Promise.reject(new DriverError('validation', 'upgrade.no_record', 'Nothing to go on from.')));
    const proofs = h.driver.count('validate');
    const { operationId } = await upgrade(c.clusterId);
    await h.ops((tx) => h.engine.suspend(tx, c.placementId, { reason: 'unpaid', at: h.clock.now() }));
    await h.settle();
    expect(await operation(operationId)).toMatchObject({ state: 'failed', error: { code: 'upgrade.no_record', step: 'upgrade' } });
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', version: null, upgrade: null });
    expect(h.driver.count('validate')).toBeGreaterThan(proofs);
    expect(await phaseOf(c.placementId)).toBe('suspended');
    await expect(h.ops((tx) => h.engine.retryOperation(tx, operationId!))).rejects.toMatchObject({ code: 'operation.not_repeatable' });
  });

  it('serves nobody as proved before it is: an endpoint that does not come back stops for a person', async () => {
    const c = await serving();
    h.driver.on('validate', async () => ({ handle: 'v', phase: 'succeeded', progress: [], output: { result: 'fail', evidence: [] } }));
    const { operationId } = await upgrade(c.clusterId);
    await h.settle();
    expect(await operation(operationId)).toMatchObject({ state: 'failed', error: { code: 'validate.not_proved' } });
    expect((await cluster(c.clusterId)).phase).toBe('failed');
  });

  it('can be stopped while its driver is at it', async () => {
    const c = await serving();
    let stopped = false;
    h.driver.on('upgrade', async () => ({
      handle: 'h1',
      phase: stopped ? 'cancelled' : 'running',
      progress: [{ step: 'stop', state: 'running', at: START }],
      retryAfterMs: 3_600_000,
    }));
    h.driver.on('cancel', async () => ((stopped = true), { handle: 'h1', phase: 'cancelled', progress: [] }));
    const { operationId } = await upgrade(c.clusterId);
    await h.settle(60_000);
    await h.ops((tx) => h.engine.cancelOperation(tx, operationId!, WHY));
    await h.settle(60_000);
    expect(await operation(operationId)).toMatchObject({ state: 'cancelled' });
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', version: null });
  });
});

describe('another version in a window', () => {
  const MINUTE = 60_000;
  const at = (minutes: number) => new Date(h.clock.now().getTime() + minutes * MINUTE);
  const book = (id: string, from: number, to: number | null = null, version = '2') =>
    h.ops((tx) => h.engine.bookUpgrade(tx, id, { ...WHY, version }, { notBefore: at(from), notAfter: to === null ? null : at(to) }));

  it('is waited for in sight while the cluster serves and other work goes on, and begins when the window opens', async () => {
    const [other, c] = [await serving(), await serving()];
    const before = h.driver.count('upgrade');
    const { operationId } = await book(c.clusterId, 60);
    const notBefore = at(60).toISOString();
    expect(await cluster(c.clusterId)).toMatchObject({
      phase: 'active',
      upgrade: null,
      booked: { operationId, to: '2', notBefore, notAfter: null },
    });
    expect(await operation(operationId)).toMatchObject({ state: 'running', phase: 'booked', awaited: `its window, from ${notBefore}` });
    // Other work of the cluster is neither its progress nor its end, and a booking keeps nobody else from an upgrade.
    await h.ops((tx) => h.engine.setLimits(tx, c.placementId, { hardQuotaBytes: 5n }));
    await h.settle(MINUTE);
    await h.ops((tx) => h.engine.resizeCluster(tx, c.clusterId, { ...WHY, shape: 'large' }));
    await h.settle(MINUTE);
    expect(await operation(operationId)).toMatchObject({ state: 'running', phase: 'booked', awaited: `its window, from ${notBefore}` });
    await upgrade(other.clusterId);
    await h.settle(MINUTE);
    expect(fakeOf(other.name).spec.version).toBe('2');
    h.clock.set(new Date(Date.parse(notBefore) - 1));
    await h.drain();
    expect(h.driver.count('upgrade')).toBe(before + 1);
    await h.settle(5 * MINUTE);
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', version: '2', booked: null, upgrade: null, error: null });
    expect(await operation(operationId)).toMatchObject({ state: 'succeeded', step: 3, steps: 3 });
    expect(await stepsOf(operationId)).toEqual(['upgrade ok', 'configure ok', 'validate ok']);
  });

  it('is taken back by a cancellation, and replaced by another booking', async () => {
    const c = await serving();
    const before = h.driver.count('upgrade');
    const first = await book(c.clusterId, 30);
    const second = await book(c.clusterId, 60);
    expect(await operation(first.operationId)).toMatchObject({ state: 'cancelled' });
    await h.ops((tx) => h.engine.cancelOperation(tx, second.operationId!, { by: 'operator:bob', reason: 'Not now.' }));
    expect(await operation(second.operationId)).toMatchObject({
      state: 'cancelled',
      error: { code: 'operation.cancelled', detail: expect.stringContaining('operator:bob') },
    });
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', booked: null, error: null });
    await h.settle(120 * MINUTE);
    expect(h.driver.count('upgrade')).toBe(before);
    await expect(h.ops((tx) => h.engine.retryOperation(tx, second.operationId!))).rejects.toMatchObject({
      code: 'operation.not_repeatable',
    });
  });

  it('waits inside the window for what hinders it, and is given up when the window is over', async () => {
    const [busy, c] = [await serving(), await serving()];
    h.driver.on('upgrade', async () => ({ operationId: 'x', handle: 'x', phase: 'running', steps: [], retryAfterMs: 1_000 }));
    await upgrade(busy.clusterId);
    const missed = await book(c.clusterId, 1, 5);
    await h.settle(3 * MINUTE);
    expect(await operation(missed.operationId)).toMatchObject({ state: 'running', awaited: expect.stringContaining(busy.name) });
    await h.settle(4 * MINUTE);
    expect(await operation(missed.operationId)).toMatchObject({ state: 'failed', error: { code: 'upgrade.window_missed' } });
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active', booked: null, error: null });
    const held = await book(c.clusterId, 1, 600);
    await h.settle(3 * MINUTE);
    h.driver.off('upgrade');
    await h.settle(10 * MINUTE);
    expect(await operation(held.operationId)).toMatchObject({ state: 'succeeded' });
    expect(fakeOf(c.name).spec.version).toBe('2');
  });

  it('is refused where the version is not offered or the window has passed, and is nothing where it runs already', async () => {
    const c = await serving();
    await expect(book(c.clusterId, 5, null, '9')).rejects.toMatchObject({ code: 'cluster.version_unsupported' });
    await expect(book(c.clusterId, -10, -5)).rejects.toMatchObject({ code: 'cluster.window_over' });
    await expect(book(c.clusterId, 10, 5)).rejects.toMatchObject({ code: 'cluster.window_over' });
    const booked = await book(c.clusterId, 10);
    await upgrade(c.clusterId);
    await h.settle(MINUTE);
    expect(await operation(booked.operationId)).toMatchObject({ state: 'running', phase: 'booked' });
    await h.engine.supervise({ force: true });
    expect(await book(c.clusterId, 10)).toEqual({ operationId: null });
    await h.settle(15 * MINUTE);
    expect(await operation(booked.operationId)).toMatchObject({ state: 'succeeded' });
  });
});
