import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson, planHash } from '#provisioning/core';
import { aCall, outputOf, untilDone } from '#provisioning/core/testing';
import { RUN_MARK } from './run/groups.js';
import { eventually, failureOf, SPEC, ToyHouse } from './testing/toy-house.js';

const LARGE = { ...SPEC, shape: 'large' };

describe('runs of terraform', () => {
  let h: ToyHouse;
  beforeAll(async () => {
    h = await new ToyHouse().start();
  });
  afterAll(() => h?.dispose());
  const nodes = (): string[] => readdirSync(h.nodes);
  const serials = async (ref: string): Promise<number[]> =>
    (await h.rows<{ serial: string }>('select serial from terraform_state_versions where cluster_ref = $1 order by version', [ref])).map(
      (v) => Number(v.serial),
    );
  const gone = (ref: string): Promise<boolean> => eventually(() => h.writers(ref).length === 0);
  /** A creation that waits until the test lets it go on. */
  const slow = (seconds = 30): void => h.script(`touch "$TOY_ROOT/../begun-$CLUSTER"; exec sleep ${seconds}`);
  const begun = (ref: string): Promise<boolean> => eventually(() => readdirSync(h.root).includes(`begun-${ref}`));

  it('refuses a plan whose stored file is not the one whose hash was approved', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    const runs = new Proxy(h.runs, {
      get: (target, name) =>
        name === 'plan'
          ? async (id: string) => ({ ...(await target.plan(id))!, file: Buffer.from('another file') })
          : (Reflect.get(target, name) as (...args: unknown[]) => unknown).bind(target),
    });
    const other = h.another({ runs });
    expect(await failureOf(() => other.apply(aCall(ref), { plan }))).toMatchObject({ class: 'validation', code: 'plan.hash_mismatch' });
    expect(nodes()).not.toContain(ref);
  });

  it('refuses an artefact that was changed, also with a hash that fits it', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    const artefact = canonicalJson({ ...(JSON.parse(plan.artefact) as object), spec: LARGE });
    const tampered = { ...plan, artefact, hash: planHash(artefact, plan.stateSerial) };
    expect(await failureOf(() => h.driver.apply(aCall(ref), { plan: tampered }))).toMatchObject({ code: 'plan.tampered' });
    expect(await failureOf(() => h.driver.apply(aCall(ref), { plan: { ...plan, artefact } }))).toMatchObject({ code: 'plan.tampered' });
    expect(await failureOf(() => h.driver.apply(aCall(h.newRef()), { plan }))).toMatchObject({ code: 'plan.tampered' });
  });

  it('reads from its own record what a plan destroys, not from the flags that the caller holds', async () => {
    const ref = h.newRef();
    await h.apply(ref);
    const plan = await h.planned(ref, { ...SPEC, region: 'there' });
    expect(plan).toMatchObject({ replace: 1, destructive: true, destroys: [ref] });
    const harmless = { ...plan, destructive: false, destroys: [] };
    expect(await failureOf(() => h.driver.apply(aCall(ref), { plan: harmless }))).toMatchObject({ code: 'plan.not_approved' });
    const call = aCall(ref);
    const approval = { planHash: plan.hash, names: [ref] };
    expect(await outputOf(() => h.driver.apply(call, { plan, approval }))).toMatchObject({ nodes: [ref] });
  });

  it('refuses an expired plan', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    h.clock.advance(25 * 3_600_000);
    expect(await failureOf(() => h.driver.apply(aCall(ref), { plan }))).toMatchObject({ class: 'conflict', code: 'plan.expired' });
  });

  it('stops a run as one group when it is cancelled, and converges when it is asked again', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    slow();
    const call = aCall(ref);
    const first = await h.driver.apply(call, { plan });
    expect(first.phase).toBe('running');
    await begun(ref);
    expect(h.writers(ref).length).toBeGreaterThan(1);
    await h.driver.cancel(aCall(ref), first.handle);
    expect((await untilDone(() => h.driver.apply(call, { plan }))).phase).toBe('cancelled');
    expect(h.writers(ref)).toEqual([]);
    // What it had done was written: SIGINT leaves terraform the time to.
    expect(await serials(ref)).not.toEqual([]);
    h.quick();
    // The old plan is stale then; a new one builds on what is there and loses nothing.
    expect(await failureOf(() => h.driver.apply(aCall(ref), { plan }))).toMatchObject({ class: 'conflict', code: 'plan.stale' });
    const again = await h.planned(ref);
    expect(again).toMatchObject({ replace: 0, destructive: false });
    await h.apply(ref);
    expect(nodes().filter((n) => n === ref)).toHaveLength(1);
  });

  it('kills what does not heed the first signal when its grace is over', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    h.script(`trap '' INT TERM; touch "$TOY_ROOT/../begun-$CLUSTER"; while :; do sleep 0.2; done`);
    const driver = h.another({ graceMs: 600 });
    const call = aCall(ref);
    const { handle } = await driver.apply(call, { plan });
    await begun(ref);
    await driver.cancel(aCall(ref), handle);
    expect((await untilDone(() => driver.apply(call, { plan }))).phase).toBe('cancelled');
    expect(h.writers(ref)).toEqual([]);
    h.quick();
  });

  it('ends a run that takes too long, with an unknown outcome and no process left', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    slow();
    const driver = h.another({ runTimeoutMs: 1_500 });
    const call = aCall(ref);
    expect(await failureOf(() => untilDone(() => driver.apply(call, { plan })))).toMatchObject({
      class: 'unknown',
      code: 'terraform.timed_out',
    });
    await gone(ref);
    h.quick();
  });

  it('leaves no child behind when terraform itself is killed in the middle of an apply, and converges when asked again', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    slow();
    const call = aCall(ref);
    await h.driver.apply(call, { plan });
    await begun(ref);
    // The leader of the group alone, as the kernel does when memory is short.
    process.kill(Math.min(...h.writers(ref)), 'SIGKILL');
    expect((await untilDone(() => h.driver.apply(call, { plan }))).error).toMatchObject({ class: 'unknown' });
    await gone(ref);
    h.quick();
    // Nothing was written, so the very same plan still fits; its lock is held by nobody.
    expect((await untilDone(() => h.driver.apply(call, { plan }))).phase).toBe('succeeded');
    expect(nodes().filter((n) => n === ref)).toHaveLength(1);
  });

  it('ends what a killed control plane left running before it writes itself, and puts its folders away', async () => {
    const ref = h.newRef();
    // Of a writer, of a plan of a dead process, of a plan that somebody living makes, and of another cluster.
    const leftBehind = [`${ref}.write.1.a`, `${ref}.read.4194300.a`, `${ref}.read.${process.pid}.a`, `${ref}x.write.1.a`];
    for (const name of leftBehind) mkdirSync(join(h.work, name), { recursive: true });
    const left = spawn('sleep', ['60'], {
      detached: true,
      stdio: 'ignore',
      env: { PATH: '/usr/bin:/bin', [RUN_MARK]: `${ref}@${h.work}` },
    });
    const stranger = spawn('sleep', ['60'], {
      detached: true,
      stdio: 'ignore',
      env: { PATH: '/usr/bin:/bin', [RUN_MARK]: `${ref}@/elsewhere` },
    });
    try {
      await eventually(() => h.writers(ref).length === 1);
      await h.apply(ref);
      expect(h.writers(ref)).toEqual([]);
      expect(left.signalCode ?? (await new Promise((end) => left.once('exit', (_, s) => end(s))))).toBe('SIGKILL');
      expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
      expect(leftBehind.filter((name) => readdirSync(h.work).includes(name))).toEqual(leftBehind.slice(2));
    } finally {
      for (const name of leftBehind) rmSync(join(h.work, name), { recursive: true, force: true });
      stranger.kill('SIGKILL');
      left.kill('SIGKILL');
    }
  });

  it('lets no old writer change the state once another has taken over', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    slow(3);
    const old = aCall(ref, { fencingToken: 1 });
    await h.driver.apply(old, { plan });
    await begun(ref);
    // Another control plane: its own process would not know of our run, so its folder of runs is another one.
    const young = h.another({ workRoot: join(h.root, 'work-of-another') });
    h.quick();
    await h.apply(ref, SPEC, 2, young);
    const written = await serials(ref);
    const result = await untilDone(() => h.driver.apply({ ...old, fencingToken: 2 }, { plan }));
    expect(result.phase).toBe('failed');
    expect(result.error?.class).toBe('conflict');
    expect(await serials(ref)).toEqual(written);
    expect(await failureOf(() => h.driver.apply(aCall(ref, { fencingToken: 1 }), { plan }))).toMatchObject({ code: 'driver.fenced' });
  });

  it('goes on when the engine asks for the same operation under a renewed lease', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    slow(2);
    const call = aCall(ref, { fencingToken: 1 });
    await h.driver.apply(call, { plan });
    await begun(ref);
    let fencingToken = 1;
    const done = await untilDone(() => h.driver.apply({ ...call, fencingToken: ++fencingToken }, { plan }));
    expect(done.phase).toBe('succeeded');
    expect(fencingToken).toBeGreaterThan(2);
    h.quick();
  });

  it('goes on when the lease was renewed while it waited for its turn', async () => {
    const [first, second] = [h.newRef(), h.newRef()];
    const driver = h.another({ parallel: 1 });
    const plans = [await h.planned(first), await h.planned(second)];
    slow(2);
    const calls = [aCall(first), aCall(second)];
    await driver.apply(calls[0]!, { plan: plans[0]! });
    await begun(first);
    await driver.apply(calls[1]!, { plan: plans[1]! });
    h.quick();
    let fencingToken = 1;
    const done = await untilDone(() => driver.apply({ ...calls[1]!, fencingToken: ++fencingToken }, { plan: plans[1]! }));
    expect(done).toMatchObject({ phase: 'succeeded' });
    expect(fencingToken).toBeGreaterThan(2);
    expect((await untilDone(() => driver.apply(calls[0]!, { plan: plans[0]! }))).phase).toBe('succeeded');
  });

  it('shows each resource as a step while it runs', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    const call = aCall(ref);
    const { progress } = await untilDone(() => h.driver.apply(call, { plan }));
    const steps = progress.map((p) => `${p.step} ${p.state}`);
    expect(steps).toContain(`terraform_data.node["${ref}"] done`);
    expect(steps).toContain('terraform_data.settings done');
    expect(steps).toContain('apply done');
  });

  it('classifies what the program of a module says of its failure', async () => {
    const ref = h.newRef();
    h.script(`echo 'berth-error: {"class":"quota","code":"cells.full","detail":"no room"}' >&2; exit 1`);
    expect(await failureOf(() => h.apply(ref).catch((e: Error) => ({ error: { class: '', code: e.message, detail: '' } })))).toMatchObject({
      code: expect.stringContaining('cells.full'),
    });
    const plan = await h.planned(ref);
    const call = aCall(ref);
    expect((await untilDone(() => h.driver.apply(call, { plan }))).error).toEqual({
      class: 'quota',
      code: 'cells.full',
      detail: 'no room',
    });
    h.quick();
  });

  it('needs nothing of what lies on its disk: a new process goes on after the folder of runs is lost', async () => {
    const ref = h.newRef();
    await h.apply(ref);
    rmSync(h.work, { recursive: true, force: true });
    const other = h.another();
    expect(await h.planned(ref, SPEC, other)).toMatchObject({ create: 0, update: 0, replace: 0 });
    await h.apply(ref, LARGE, 1, other);
    const call = aCall(ref);
    expect(await outputOf(() => other.delete(call, { confirm: ref }))).toEqual({ survivors: [] });
    expect(nodes()).not.toContain(ref);
    expect(readdirSync(h.work)).toEqual([]);
  });

  it('says that a node which the state names is gone, instead of "no changes"', async () => {
    const ref = h.newRef();
    await h.apply(ref);
    rmSync(join(h.nodes, ref), { recursive: true });
    expect((await outputOf(() => h.driver.observe(aCall(ref)))).health).toBe('down');
    expect(await h.planned(ref)).toMatchObject({ replace: 1, destructive: true, destroys: [ref] });
    expect((await outputOf(() => h.driver.inventory(aCall(ref)))).items).toContainEqual(
      expect.objectContaining({ externalId: `state-${ref}`, state: 'broken' }),
    );
  });

  it('deletes what no state knows by its label', async () => {
    const ref = h.newRef();
    const plan = await h.planned(ref);
    h.script('exit 1');
    const call = aCall(ref);
    expect((await untilDone(() => h.driver.apply(call, { plan }))).phase).toBe('failed');
    await h.rows('update terraform_clusters set managed = true where cluster_ref = $1', [ref]);
    h.quick();
    const never = h.newRef();
    await h.planned(never);
    writeFileSync(join(h.nodes, never), 'an orphan of a run that never wrote a state');
    for (const one of [ref, never]) {
      const deletion = aCall(one);
      expect(await outputOf(() => h.driver.delete(deletion, { confirm: one }))).toEqual({ survivors: [] });
      expect(nodes()).not.toContain(one);
    }
  });
});
