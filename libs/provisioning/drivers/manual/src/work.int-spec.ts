import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openDatabase, uuidv7, type Database } from '#platform';
import { ManualClock } from '#platform/testing';
import { DriverError, type ClusterSpec, type DriverPlan } from '#provisioning/core';
import { aCall, FakeDriver, outputOf } from '#provisioning/core/testing';
import { createTestDatabase, type TestDatabase } from '../../../../../test/support/database.js';
import { ManualDriver, ManualWork, ODM_STEPS } from './index.js';

const SPEC: ClusterSpec = { region: 'here', shape: 'small', nodes: 1, version: null, capacityBytes: null, labels: {} };
const HOUR_MS = 3_600_000;

describe('work that people do', () => {
  let base: TestDatabase;
  let db: Database;
  const clock = new ManualClock(new Date('2026-03-01T10:00:00Z'));
  const site = new FakeDriver(clock);
  const work = new ManualWork(clock);
  const another = (): ManualDriver => new ManualDriver({ clock, db, site });
  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: inject('databaseSecret'), poolSize: 4 });
  });
  afterAll(async () => {
    await db?.close();
    await base?.drop();
  });

  const newRef = (): string => `man-${uuidv7().slice(-12)}`;
  const steps = (clusterRef: string, all = false) => db.ops((tx) => work.list(tx, { clusterRef, all }));
  const sign = (stepId: string, by = 'ann') => db.ops((tx) => work.signOff(tx, stepId, by, null));
  const show = (stepId: string) => db.ops((tx) => work.attach(tx, stepId, { text: 'delivery note 7', url: null, by: 'ann' }));
  const plan = (ref: string): Promise<DriverPlan> => outputOf(() => another().plan(aCall(ref), SPEC));
  async function signAll(ref: string): Promise<void> {
    for (const step of await steps(ref)) {
      if (step.needs_evidence) await show(step.step_id);
      await sign(step.step_id);
    }
  }
  /** Work that is under way. */
  async function ordered() {
    const ref = newRef();
    const call = aCall(ref);
    const request = { plan: await plan(ref) };
    const asked = await another().apply(call, request);
    return { ref, call, request, asked };
  }

  it('has steps with owner and ETA, shown while they wait, and takes weeks without anything that runs', async () => {
    const { ref, call, request, asked } = await ordered();
    expect(asked).toMatchObject({ phase: 'running', retryAfterMs: 30_000 });
    expect(asked.progress.map((p) => `${p.step} ${p.state}`)).toEqual([
      'order_hardware running',
      'rack_and_cable pending',
      'install pending',
      'hand_over pending',
    ]);
    const open = await steps(ref);
    expect(open.map((s) => s.owner)).toEqual(ODM_STEPS.build.map((s) => s.owner));
    const lead = another().capabilities().leadHours! * HOUR_MS;
    expect(open.at(-1)!.eta.getTime()).toBe(clock.now().getTime() + lead);
    clock.set(new Date(clock.now().getTime() + 20 * 24 * HOUR_MS));
    await signAll(ref);
    // Another process, weeks later, on the same rows.
    const done = await outputOf(() => another().apply(call, request));
    expect(done).toMatchObject({ stateSerial: 1, nodes: [`${ref}-1`] });
    expect(site.clusters.has(ref)).toBe(true);
    expect((await steps(ref, true)).every((s) => s.signed_by === 'ann' && s.signed_at !== null)).toBe(true);
  });

  it('is signed in its order, with evidence where that is asked for, once, and by whoever holds the key', async () => {
    const { ref } = await ordered();
    const [first, second] = await steps(ref);
    await expect(sign(second!.step_id)).rejects.toMatchObject({ code: 'manual_step.not_due' });
    await expect(sign(first!.step_id)).rejects.toMatchObject({ code: 'manual_step.evidence_missing' });
    await show(first!.step_id);
    expect(await sign(first!.step_id, 'bob')).toMatchObject({
      state: 'done',
      signed_by: 'bob',
      evidence: [{ text: 'delivery note 7', by: 'ann' }],
    });
    await expect(sign(first!.step_id)).rejects.toMatchObject({ code: 'manual_step.closed' });
    await expect(show(first!.step_id)).rejects.toMatchObject({ code: 'manual_step.closed' });
    await expect(sign(uuidv7())).rejects.toMatchObject({ code: 'manual_step.unknown' });
  });

  it('moves what comes after a step whose ETA changes', async () => {
    const { ref } = await ordered();
    const before = await steps(ref);
    const later = new Date(before[1]!.eta.getTime() + 48 * HOUR_MS);
    await db.ops((tx) => work.setEta(tx, before[1]!.step_id, later));
    const moved = (await steps(ref)).map((s, i) => (s.eta.getTime() - before[i]!.eta.getTime()) / HOUR_MS);
    expect(moved).toEqual([0, 48, 48, 48]);
  });

  it('is over when somebody refuses or it is called off, and the next try keeps what was signed', async () => {
    const { ref, call, request } = await ordered();
    const [first, second] = await steps(ref);
    await show(first!.step_id);
    await sign(first!.step_id);
    await db.ops((tx) => work.refuse(tx, second!.step_id, 'bob', 'The floor does not carry it.'));
    const refused = await another().apply(call, request);
    expect(refused).toMatchObject({ phase: 'failed', error: { class: 'permission', code: 'manual.refused' } });
    expect(refused.error!.detail).toContain('bob refused the step rack_and_cable: The floor does not carry it.');
    const again = aCall(ref);
    await another().apply(again, request);
    expect((await steps(ref)).map((s) => s.name)).toEqual(['rack_and_cable', 'install', 'hand_over']);
    expect(await another().cancel(aCall(ref), again.operationId)).toMatchObject({ phase: 'cancelled' });
    expect(await steps(ref)).toEqual([]);
    await another().apply(aCall(ref), request);
    await signAll(ref);
    expect(site.clusters.has(ref)).toBe(false);
  });

  it('is done by one at a time, and a writer whose lease was taken over opens nothing', async () => {
    const { ref, request } = await ordered();
    await expect(another().apply(aCall(ref), request)).rejects.toMatchObject({ class: 'throttled', code: 'manual.busy' });
    const other = newRef();
    await another()
      .configure(aCall(other, { fencingToken: 5 }), { placements: [], purge: [] })
      .catch(() => undefined);
    await expect(another().apply(aCall(other, { fencingToken: 4 }), { plan: await plan(other) })).rejects.toMatchObject({
      code: 'driver.fenced',
    });
    expect(await steps(other, true)).toEqual([]);
  });

  it('asks nobody twice when the site is busy, and says what the site says when it refuses', async () => {
    const { ref, call, request } = await ordered();
    await signAll(ref);
    const real = site.apply.bind(site);
    const answers = [new DriverError('throttled', 'site.busy', 'Later.'), new DriverError('conflict', 'plan.stale', 'Another state.')];
    site.apply = (c, r) => {
      const next = answers.shift();
      return next ? Promise.reject(next) : real(c, r);
    };
    expect(await another().apply(call, request)).toMatchObject({ phase: 'failed', error: { class: 'throttled', code: 'site.busy' } });
    expect(await another().apply(call, request)).toMatchObject({ phase: 'running' });
    expect(await another().apply(call, request)).toMatchObject({ phase: 'succeeded', output: { stateSerial: 1 } });
    expect(await steps(ref)).toEqual([]);
    site.apply = real;
  });

  it('ends with the disks wiped and the machine out of the rack, after the site has let go', async () => {
    const { ref, call, request } = await ordered();
    await signAll(ref);
    await outputOf(() => another().apply(call, request));
    const removal = aCall(ref);
    expect(await another().delete(removal, { confirm: ref })).toMatchObject({ phase: 'running' });
    expect(site.clusters.has(ref)).toBe(false);
    expect((await steps(ref)).map((s) => s.name)).toEqual(['wipe', 'take_out']);
    await signAll(ref);
    expect(await outputOf(() => another().delete(removal, { confirm: ref }))).toEqual({ survivors: [] });
    expect((await plan(ref)).create).toBe(1);
  });

  it('is called off when the cluster that nobody has built yet is taken down', async () => {
    const { ref, call, request } = await ordered();
    expect(await outputOf(() => another().delete(aCall(ref), { confirm: ref }))).toEqual({ survivors: [] });
    expect(await another().apply(call, request)).toMatchObject({ phase: 'cancelled' });
    expect(await steps(ref)).toEqual([]);
  });
});
