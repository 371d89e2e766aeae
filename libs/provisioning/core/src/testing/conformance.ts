/** The suite that each driver passes, the in-memory fake too. `#provisioning/core/testing` is for tests only. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidv7 } from '#platform';
import type { ClusterSpec, DesiredPlacement, DriverCall, DriverResult, ProbeAccess, ProvisioningDriver } from '../index.js';
import { aCall, outputOf, untilDone } from './until-done.js';

/** What a driver brings to be judged. */
export interface ConformanceHarness {
  readonly driver: ProvisioningDriver;
  /** The smallest spec the driver accepts. */
  spec(): ClusterSpec;
  /** The same cluster so changed that its data-bearing nodes are replaced. */
  destructiveSpec(): ClusterSpec;
  /** A change in place, or null when the driver has none. */
  harmlessSpec(): ClusterSpec | null;
  /** Writes through the placement's endpoint with its first key, as the buyer does. Throws when refused. */
  write(clusterRef: string, placement: DesiredPlacement, name: string, text: string): Promise<void>;
  /** Reads the same way; null when there is no such thing. Throws when refused. */
  read(clusterRef: string, placement: DesiredPlacement, name: string): Promise<string | null>;
  /** Writes as the probe does; throws when it succeeds although `open` is false, or the other way round. Null where there is no wire. */
  useProbe?(access: ProbeAccess, open: boolean): Promise<void>;
  /** Puts a cluster there that the control plane has no record of; returns what `inventory` will call it. */
  plantOrphan(): Promise<string>;
  /** Breaks the cluster's data path from outside, as a crash does. */
  breakCluster(clusterRef: string): Promise<void>;
  /** Everything that observing must not change: folders, processes, objects; compared as text. */
  fingerprint(): Promise<string>;
  dispose(): Promise<void>;
}

const secret = (): string => Buffer.from(Array.from({ length: 64 }, () => Math.floor(Math.random() * 256))).toString('base64');

/** A placement with one key and no limit. */
export function aPlacement(change: Partial<DesiredPlacement> = {}): DesiredPlacement {
  const id = uuidv7();
  return {
    placementId: id,
    accountName: `t${id.replaceAll('-', '').slice(-20)}`,
    keys: [{ id: 'k1', secretBase64: secret() }],
    state: 'active',
    limits: { hardQuotaBytes: null },
    ...change,
  };
}

/** Registers the suite with vitest. One cluster is made and used by most tests, in order. */
export function describeDriverConformance(name: string, makeHarness: () => Promise<ConformanceHarness>): void {
  describe(`driver conformance: ${name}`, () => {
    let h: ConformanceHarness;
    let driver: ProvisioningDriver;
    const ref = `conf-${uuidv7().slice(-12)}`;
    let generation = 1;
    const call = (change: Partial<DriverCall> = {}): DriverCall => aCall(ref, { generation, ...change });
    const observed = () => outputOf(() => driver.observe(call()));
    const configure = (placements: DesiredPlacement[], purge: string[] = []) => {
      const c = call({ generation: ++generation });
      return outputOf(() => driver.configure(c, { placements, purge }));
    };
    // One id for all that is asked of one plan: a driver may take its time over it.
    const planned = (spec: ClusterSpec) => {
      const c = call();
      return outputOf(() => driver.plan(c, spec));
    };
    const failure = async <T>(ask: () => Promise<DriverResult<T>>): Promise<{ class: string; code: string }> => {
      try {
        const r = await untilDone(ask);
        if (r.error) return { class: r.error.class, code: r.error.code };
      } catch (e) {
        const { class: errorClass, code } = e as { class: string; code: string };
        return { class: errorClass, code };
      }
      throw new Error('the call succeeded');
    };
    const kept = aPlacement();

    beforeAll(async () => {
      h = await makeHarness();
      driver = h.driver;
    }, 60_000);
    afterAll(async () => h?.dispose(), 60_000);

    it('refuses a shape that is not in the catalogue before it makes anything', async () => {
      const before = await h.fingerprint();
      expect(await failure(() => driver.plan(call(), { ...h.spec(), shape: 'no-such-shape' }))).toEqual({
        class: 'validation',
        code: 'spec.unknown_shape',
      });
      expect(await h.fingerprint()).toBe(before);
    });

    it('preflight and plan say what would happen and make nothing', async () => {
      const before = await h.fingerprint();
      expect((await outputOf(() => driver.preflight(call(), h.spec()))).ok).toBe(true);
      expect(await planned(h.spec())).toMatchObject({ create: 1, replace: 0, destructive: false });
      expect(await h.fingerprint()).toBe(before);
    });

    it('makes one cluster for one operation id, however often it is asked', async () => {
      const plan = await planned(h.spec());
      const c = call();
      const [a, b] = await Promise.all([driver.apply(c, { plan }), driver.apply(c, { plan })]);
      expect(b.handle).toBe(a.handle);
      const done = await untilDone(() => driver.apply(c, { plan }));
      expect(done).toMatchObject({ handle: a.handle, phase: 'succeeded' });
      expect(done.progress.length).toBeGreaterThan(0);
      const serial = (await observed()).stateSerial;
      expect((await driver.apply(c, { plan })).phase).toBe('succeeded');
      const after = await observed();
      expect(after).toMatchObject({ exists: true, health: 'ok', stateSerial: serial });
      expect(after.nodes).toHaveLength(1);
    });

    it('refuses the id of one operation for another call', async () => {
      const c = call();
      await untilDone(() => driver.validate(c));
      expect(await failure(() => driver.release(c))).toEqual({ class: 'conflict', code: 'driver.operation_reused' });
    });

    it('refuses a plan that was made from an older state', async () => {
      const change = h.harmlessSpec();
      if (!change) return;
      const [first, second] = [await planned(change), await planned(change)];
      const c = call();
      await outputOf(() => driver.apply(c, { plan: first }));
      expect(await failure(() => driver.apply(call(), { plan: second }))).toEqual({ class: 'conflict', code: 'plan.stale' });
    });

    it('serves a placement and gives back what was written', async () => {
      const out = await configure([kept]);
      expect(out.endpoints).toHaveLength(1);
      await h.write(ref, kept, 'greeting', 'hello');
      expect(await h.read(ref, kept, 'greeting')).toBe('hello');
    });

    it('proves the data path without a trace in the placements or counters', async () => {
      const before = await observed();
      expect((await outputOf(() => driver.validate(call()))).result).toBe('pass');
      const after = await observed();
      expect(after.placements).toEqual(before.placements);
    });

    it('upgrades in place, once for one operation id, and keeps access, data and counters; or says that it does not', async () => {
      const can = driver.capabilities();
      const version = can.versions.at(-1) ?? '1';
      if (!can.upgrade) {
        expect(await failure(() => driver.upgrade(call(), { version }))).toEqual({ class: 'unsupported', code: 'upgrade.unsupported' });
        return;
      }
      expect(await failure(() => driver.upgrade(call(), { version: 'no-such-version' }))).toEqual({
        class: 'validation',
        code: 'upgrade.unknown_version',
      });
      const before = await observed();
      expect(before.version).not.toBe(version);
      const stale = await planned(h.destructiveSpec());
      const c = call();
      const [a, b] = await Promise.all([driver.upgrade(c, { version }), driver.upgrade(c, { version })]);
      expect(b.handle).toBe(a.handle);
      expect((await untilDone(() => driver.upgrade(c, { version }))).phase).toBe('succeeded');
      const after = await observed();
      expect(after).toMatchObject({ exists: true, health: 'ok', version });
      expect(after.placements).toEqual(before.placements);
      expect(after.metering?.epoch).toBe(before.metering?.epoch);
      expect(after.nodes.map((n) => n.name)).toEqual(before.nodes.map((n) => n.name));
      expect(await h.read(ref, kept, 'greeting')).toBe('hello');
      expect((await driver.upgrade(c, { version })).phase).toBe('succeeded');
      expect((await observed()).stateSerial).toBe(after.stateSerial);
      const approval = { planHash: stale.hash, names: stale.destroys };
      expect(await failure(() => driver.apply(call(), { plan: stale, approval }))).toEqual({ class: 'conflict', code: 'plan.stale' });
    });

    it('lets a suite in beside the placements, without a trace in them or in their counters', async () => {
      const before = await observed();
      if (!driver.capabilities().probes) {
        expect(await failure(() => driver.openProbe(call(), { lifeMs: 60_000 }))).toMatchObject({ class: 'unsupported' });
        return;
      }
      const access = await outputOf(() => driver.openProbe(call(), { lifeMs: 60_000 }));
      expect(before.placements.map((p) => p.accountName)).not.toContain(access.accountName);
      await h.useProbe?.(access, true);
      const close = call();
      await untilDone(() => driver.closeProbe(close, { accountName: access.accountName }));
      await untilDone(() => driver.closeProbe(call(), { accountName: access.accountName }));
      await h.useProbe?.(access, false);
      expect((await observed()).placements).toEqual(before.placements);
    });

    it('refuses a destructive plan that no approval of that plan names', async () => {
      const plan = await planned(h.destructiveSpec());
      expect(plan.destructive).toBe(true);
      expect(plan.destroys.length).toBeGreaterThan(0);
      const refused = { class: 'permission', code: 'plan.not_approved' };
      expect(await failure(() => driver.apply(call(), { plan }))).toEqual(refused);
      expect(await failure(() => driver.apply(call(), { plan, approval: { planHash: plan.hash, names: [] } }))).toEqual(refused);
      expect(await failure(() => driver.apply(call(), { plan, approval: { planHash: 'another', names: plan.destroys } }))).toEqual(refused);
      expect(await h.read(ref, kept, 'greeting')).toBe('hello');
    });

    it('suspends access, keeps the data, and resumes', async () => {
      const c = call();
      const out = await outputOf(() => driver.suspend(c, { placementId: kept.placementId, kind: 'access' }));
      if (out.lastSample) expect(Number.isNaN(Date.parse(out.lastSample.at))).toBe(false);
      await expect(h.read(ref, kept, 'greeting')).rejects.toThrow();
      await expect(h.write(ref, kept, 'more', 'x')).rejects.toThrow();
      // Never by power: what lies on local disks would be gone (contract provisioning §3.4).
      expect((await observed()).nodes.map((n) => n.state)).toEqual(['running']);
      const r = call();
      await untilDone(() => driver.resume(r, { placementId: kept.placementId }));
      expect(await h.read(ref, kept, 'greeting')).toBe('hello');
    });

    it('closes a placement that is absent from the list and keeps its data', async () => {
      await configure([]);
      await expect(h.read(ref, kept, 'greeting')).rejects.toThrow();
      expect((await observed()).placements).toMatchObject([{ placementId: kept.placementId, state: 'closed' }]);
      await configure([kept]);
      expect(await h.read(ref, kept, 'greeting')).toBe('hello');
    });

    it('deletes the data of a placement only when it is named for purging', async () => {
      const bad = call({ generation: generation + 1 });
      expect(await failure(() => driver.configure(bad, { placements: [kept], purge: [kept.placementId] }))).toMatchObject({
        code: 'configure.purge_of_live',
      });
      await configure([], [kept.placementId]);
      expect((await observed()).placements).toEqual([]);
      await configure([kept]);
      expect(await h.read(ref, kept, 'greeting')).toBeNull();
    });

    it('refuses an older list than the one in force', async () => {
      const old = call({ generation: generation - 1 });
      expect(await failure(() => driver.configure(old, { placements: [], purge: [] }))).toEqual({
        class: 'conflict',
        code: 'driver.generation_stale',
      });
      expect((await observed()).observedGeneration).toBe(generation);
    });

    it('keeps a second placement out of the first one', async () => {
      const other = aPlacement();
      await configure([kept, other]);
      await h.write(ref, kept, 'secret', 'mine');
      await expect(
        h.read(ref, { ...kept, keys: other.keys }, 'secret').then((v) => (v === 'mine' ? undefined : Promise.reject(new Error('refused')))),
      ).rejects.toThrow();
    });

    it('changes nothing by observing and by taking inventory', async () => {
      const before = await h.fingerprint();
      await observed();
      await outputOf(() => driver.inventory(aCall(ref)));
      await outputOf(() => driver.observe(aCall('nobody-knows-it')));
      expect(await h.fingerprint()).toBe(before);
    });

    it('finds a cluster that nobody has a record of', async () => {
      const orphan = await h.plantOrphan();
      const { items } = await outputOf(() => driver.inventory(aCall(ref)));
      expect(items.map((i) => i.externalId)).toContain(orphan);
      expect(items.some((i) => i.clusterRef === ref && i.state === 'running')).toBe(true);
    });

    it('fails validation when the data path is broken', async () => {
      await h.breakCluster(ref);
      expect((await outputOf(() => driver.validate(call()))).result).not.toBe('pass');
      expect((await observed()).health).not.toBe('ok');
    });

    it('does not delete without the name, and leaves nothing when it deletes', async () => {
      expect(await failure(() => driver.delete(call(), { confirm: 'another' }))).toEqual({
        class: 'permission',
        code: 'delete.not_approved',
      });
      const c = call();
      expect((await outputOf(() => driver.delete(c, { confirm: ref }))).survivors).toEqual([]);
      const { items } = await outputOf(() => driver.inventory(aCall(ref)));
      expect(items.filter((i) => i.clusterRef === ref)).toEqual([]);
      expect((await observed()).exists).toBe(false);
      expect((await driver.delete(c, { confirm: ref })).phase).toBe('succeeded');
    });

    it('shuts out a writer whose lease was taken over, also after deletion', async () => {
      const plan = await planned(h.spec());
      const taken = call({ fencingToken: 7 });
      await outputOf(() => driver.delete(taken, { confirm: ref }));
      const fenced = { class: 'conflict', code: 'driver.fenced' };
      const late = call({ fencingToken: 6 });
      expect(await failure(() => driver.apply(late, { plan }))).toEqual(fenced);
      expect(await failure(() => driver.configure(late, { placements: [], purge: [] }))).toEqual(fenced);
      expect(await failure(() => driver.delete(late, { confirm: ref }))).toEqual(fenced);
      expect((await observed()).exists).toBe(false);
    });
  });
}
