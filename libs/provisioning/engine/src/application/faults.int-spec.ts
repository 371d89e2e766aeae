import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DriverError } from '#provisioning/core';
import { engineHarness, runOnce, START, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeEach(async () => {
  h = await engineHarness();
});
afterEach(() => h?.close());

const expireLease = (clusterId: string) =>
  h.ops((tx) => tx.query(`update clusters set lease_until = now() - interval '1 second' where cluster_id = $1`, [clusterId]));

/** The first call of a method takes effect and then hangs, as a worker that dies inside it. */
function hangAfter(method: 'preflight' | 'plan' | 'apply' | 'configure' | 'validate'): { reached: Promise<void>; release: () => void } {
  let reach = (): void => undefined;
  let release = (): void => undefined;
  const reached = new Promise<void>((resolve) => (reach = resolve));
  const released = new Promise<void>((resolve) => (release = resolve));
  h.driver.on(method, async (run, nth) => {
    const result = await run();
    if (nth === 1) {
      reach();
      await released;
    }
    return result;
  });
  return { reached, release };
}

describe('a worker that dies', () => {
  it.each(['preflight', 'plan', 'apply', 'configure', 'validate'] as const)(
    'inside %s is followed by one that looks first and makes nothing twice',
    async (method) => {
      const made = await h.request();
      const { clusterId, name } = await h.clusterOf(made.placementId);
      const hang = hangAfter(method);
      const dying = runOnce(h.engine, clusterId);
      await hang.reached;
      await expireLease(clusterId);
      const next = h.another();
      expect(await runOnce(next, clusterId)).toBeUndefined();

      // What only reads is asked again; what changes something is looked at first.
      expect(h.driver.count('observe')).toBe(method === 'apply' || method === 'configure' ? 1 : 0);
      if (method === 'apply') expect(h.driver.count('apply')).toBe(1);
      expect(h.driver.fake.clusters.get(name)!.serial).toBe(1);
      // A plan rests on checks: those are made anew, and so is the plan. All else is asked under the id of its intent.
      if (method !== 'plan') expect(new Set(h.driver.of(method).map((c) => c.operationId)).size).toBe(1);
      expect(Math.max(...h.driver.calls.map((c) => c.fencingToken))).toBe(2);
      const before = await h.placement(made.placementId);
      expect(before.phase).toBe('active');

      // The dead one was only slow: what it learned is void, and it writes nothing.
      hang.release();
      expect((await dying)?.reason).toContain('taken over');
      expect(await h.placement(made.placementId)).toEqual(before);
      await h.settle();
      expect(h.eventsOf(made.placementId)).toEqual(['placement.active']);
    },
  );

  it('is no alarm: that its intent was looked at is told as information', async () => {
    const { clusterId } = await h.clusterOf((await h.request()).placementId);
    const hang = hangAfter('apply');
    const dying = runOnce(h.engine, clusterId);
    await hang.reached;
    await expireLease(clusterId);
    const lines: { level: number; msg: string }[] = [];
    const logger = pino({ level: 'trace' }, { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]) });
    await runOnce(h.another({ logger }), clusterId);
    hang.release();
    await dying;
    expect(lines.filter((l) => l.msg.includes('without an outcome')).map((l) => l.level)).toEqual([logger.levels.values['info']]);
    expect(lines.filter((l) => l.level > logger.levels.values['info']!)).toEqual([]);
  });

  it('does not lose the last sample that the driver had already taken, even when another wish came meanwhile', async () => {
    const made = await h.serving();
    const other = await h.serving();
    await h.ops((tx) => h.engine.endAccess(tx, made.placementId, { at: h.clock.now() }));
    h.driver.calls.length = 0;
    const hang = hangAfter('configure');
    const dying = runOnce(h.engine, made.clusterId);
    await hang.reached;
    await h.ops((tx) => h.engine.setLimits(tx, other.placementId, { hardQuotaBytes: 7n }));
    await expireLease(made.clusterId);
    await runOnce(h.another(), made.clusterId);
    hang.release();
    await dying;
    expect(h.driver.of('configure').map((c) => c.operationId)).toHaveLength(3);
    expect(await h.placement(made.placementId)).toMatchObject({
      phase: 'ended',
      lastSample: { sequence: expect.any(String), acknowledged: true },
    });
    expect(h.driver.fake.clusters.get(made.name)!.placements.get(other.placementId)!.limits).toEqual({ hardQuotaBytes: '7' });
  });
});

describe('one writer per cluster', () => {
  it("lets a second worker wait while the first one's lease holds", async () => {
    const made = await h.request();
    const { clusterId } = await h.clusterOf(made.placementId);
    const hang = hangAfter('apply');
    const first = runOnce(h.engine, clusterId);
    await hang.reached;
    const calls = h.driver.calls.length;
    expect((await runOnce(h.another(), clusterId))?.reason).toContain('another worker holds');
    expect(h.driver.calls.length).toBe(calls);
    hang.release();
    await first;
    expect((await h.placement(made.placementId)).phase).toBe('active');
  });
});

describe('a driver that fails', () => {
  it('after its effect is observed, not asked to build again', async () => {
    h.driver.on('apply', async (run) => {
      await run();
      throw new Error('connection reset');
    });
    const made = await h.serving();
    expect(h.driver.count('apply')).toBe(1);
    expect(h.driver.fake.clusters.get(made.name)!.serial).toBe(1);
    expect((await h.placement(made.placementId)).phase).toBe('active');
    const build = (await h.ops((tx) => h.engine.listOperations(tx, { limit: 5 }, { subjectId: made.clusterId }))).items[0]!;
    const apply = (await h.ops((tx) => h.engine.listSteps(tx, build.operationId))).find((s) => s.name === 'apply');
    expect(apply).toMatchObject({ state: 'ok', outcome: { seen: true } });
  });

  it('before its effect is asked again with the same operation id', async () => {
    h.driver.on('apply', async (run, nth) => {
      if (nth === 1) throw new Error('connection refused');
      return run();
    });
    const made = await h.serving();
    const ids = h.driver.of('apply').map((c) => c.operationId);
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(1);
    expect((await h.placement(made.placementId)).phase).toBe('active');
  });

  it('because it is busy is asked again with the same operation id, later', async () => {
    h.driver.on('configure', async (run, nth) => {
      if (nth <= 3) throw new DriverError('throttled', 'cloud.busy', 'Later.');
      return run();
    });
    const made = await h.serving();
    expect(new Set(h.driver.of('configure').map((c) => c.operationId)).size).toBe(1);
    expect(h.driver.count('configure')).toBe(4);
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'active' });
    expect(h.clock.now().getTime()).toBeGreaterThan(Date.parse(START));
  });

  it('over a stale plan gets a new plan', async () => {
    h.driver.on('apply', async (run, nth) => {
      if (nth === 1) throw new DriverError('conflict', 'plan.stale', 'The state moved.');
      return run();
    });
    const made = await h.serving();
    expect(h.driver.count('plan')).toBe(2);
    expect((await h.placement(made.placementId)).phase).toBe('active');
  });

  it('over a permission stops at once, says why, and goes on when a person has retried', async () => {
    h.driver.on('configure', async () => {
      throw new DriverError('permission', 'cloud.denied', 'Role x lacks right y.');
    });
    const made = await h.serving();
    expect(h.driver.count('configure')).toBe(1);
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'failed', activatedAt: null });
    expect(h.eventsOf(made.placementId)).toEqual(['placement.failed']);
    const failed = await h.lastOperation(made.placementId);
    expect(failed).toMatchObject({ state: 'failed', error: { class: 'permission', code: 'cloud.denied', step: 'configure' } });
    // What a driver says is for operators.
    expect(JSON.stringify(failed)).not.toContain('Role x');
    expect((await h.lastOperation(made.clusterId)).error?.detail).toBe('Role x lacks right y.');
    expect(await h.ops((tx) => h.engine.getCluster(tx, made.clusterId))).toMatchObject({
      phase: 'failed',
      error: { code: 'cloud.denied' },
    });
    await h.settle();
    expect(h.driver.count('configure')).toBe(1);

    h.driver.off('configure');
    await h.ops((tx) => h.engine.retryOperation(tx, failed.operationId));
    await h.settle();
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'active' });
    expect(await h.lastOperation(made.placementId)).toMatchObject({ kind: 'provision', state: 'succeeded' });
    expect(h.eventsOf(made.placementId)).toEqual(['placement.failed', 'placement.active']);
    expect(h.driver.fake.clusters.get(made.name)!.serial).toBe(1);
    await expect(h.ops((tx) => h.engine.retryOperation(tx, failed.operationId))).resolves.toBeUndefined();
  });

  it('before anything was built leaves a placement that can be ended without it', async () => {
    h.driver.on('preflight', async () => {
      throw new DriverError('quota', 'cloud.quota', 'No machines.');
    });
    const made = await h.serving();
    expect((await h.placement(made.placementId)).phase).toBe('failed');
    await h.ops((tx) => h.engine.endAccess(tx, made.placementId, { at: h.clock.now() }));
    await h.settle();
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'ended', accessEndedAt: expect.any(Date), lastSample: null });
    expect(h.eventsOf(made.placementId)).toEqual(['placement.failed', 'placement.access_ended']);
  });

  it('with a step that never ends is cancelled, and a person is asked', async () => {
    const slow = h.another({ times: { stepTimeoutMs: 60, patienceMs: 1_000 } });
    const made = await h.request();
    const { clusterId } = await h.clusterOf(made.placementId);
    h.driver.on('apply', async () => ({
      handle: 'h1',
      phase: 'running',
      progress: [{ step: 'boot', state: 'running', at: START, detail: 'node 1' }],
      retryAfterMs: 20,
    }));
    h.driver.on('cancel', async () => ({ handle: 'h1', phase: 'cancelled', progress: [] }));
    await runOnce(slow, clusterId);
    expect(h.driver.count('cancel')).toBe(1);
    expect(await h.lastOperation(clusterId)).toMatchObject({ state: 'failed', error: { code: 'step.timed_out' } });
  });

  it('and whose generation is ahead of ours is overtaken, not obeyed', async () => {
    const made = await h.serving();
    h.driver.fake.clusters.get(made.name)!.generation = 99;
    await h.ops((tx) => h.engine.setLimits(tx, made.placementId, { hardQuotaBytes: 5n }));
    await h.settle();
    expect(h.driver.fake.clusters.get(made.name)!.generation).toBe(100);
    expect(h.eventsOf(made.placementId)).toEqual(['placement.active', 'placement.limits_changed']);
  });
});

describe('the proof', () => {
  const say = (result: 'unknown' | 'fail') =>
    h.driver.on('validate', async () => ({ handle: 'v', phase: 'succeeded', progress: [], output: { result, evidence: [] } }));

  it.each(['unknown', 'fail'] as const)('that says %s never promotes', async (result) => {
    say(result);
    const made = await h.serving();
    expect(h.driver.count('validate')).toBe(6);
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'failed', activatedAt: null });
    expect(h.eventsOf(made.placementId)).toEqual(['placement.failed']);
    await expect(h.ops((tx) => h.engine.credentials(tx, made.placementId))).rejects.toMatchObject({ code: 'placement.in_state' });
    h.driver.off('validate');
    await h.ops((tx) => h.engine.retryOperation(tx, made.operationId));
    await h.settle();
    expect((await h.placement(made.placementId)).phase).toBe('active');
  });

  it('of a newcomer does not hold up the suspension of a neighbour', async () => {
    const neighbour = await h.serving();
    say('unknown');
    const newcomer = await h.request();
    await h.drain();
    expect((await h.placement(newcomer.placementId)).phase).toBe('validating');
    await h.ops((tx) => h.engine.suspend(tx, neighbour.placementId, { reason: 'unpaid', at: h.clock.now() }));
    await h.settle(3_000);
    expect((await h.placement(neighbour.placementId)).phase).toBe('suspended');
    expect((await h.placement(newcomer.placementId)).activatedAt).toBeNull();
  });
});
