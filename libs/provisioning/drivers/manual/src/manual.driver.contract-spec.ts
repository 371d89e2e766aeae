/** People played by a robot that signs whatever is due; the site is the fake driver. */
import { inject } from 'vitest';
import { openDatabase } from '#platform';
import { describeDriverConformance, FakeDriver } from '#provisioning/core/testing';
import { createTestDatabase } from '../../../../../test/support/database.js';
import { ManualDriver, ManualWork } from './index.js';

const SPEC = { region: 'here', shape: 'small', nodes: 1, version: null, capacityBytes: null, labels: {} };

describeDriverConformance('manual', async () => {
  const base = await createTestDatabase();
  const db = await openDatabase({ adminUrl: base.url(), secret: inject('databaseSecret'), poolSize: 4 });
  const clock = { now: () => new Date() };
  const site = new FakeDriver(clock);
  const driver = new ManualDriver({ clock, db, site, lookEveryMs: 20 });
  const work = new ManualWork(clock);
  let busy = false;
  const robot = setInterval(() => {
    if (busy) return;
    busy = true;
    void db
      .ops(async (tx) => {
        const [due] = (await work.list(tx, {})).sort((a, b) => a.step_no - b.step_no);
        if (!due) return;
        await work.attach(tx, due.step_id, { text: 'photograph of the rack', url: null, by: 'robot' });
        await work.signOff(tx, due.step_id, 'robot', null);
      })
      .catch(() => undefined)
      .finally(() => (busy = false));
  }, 10);
  return {
    driver,
    spec: () => SPEC,
    destructiveSpec: () => ({ ...SPEC, region: 'there' }),
    harmlessSpec: () => ({ ...SPEC, shape: 'large' }),
    write: async (ref, p, name, text) => {
      assertOwnKey(site, ref, p);
      site.write(ref, p.placementId, name, text);
    },
    read: async (ref, p, name) => {
      assertOwnKey(site, ref, p);
      return site.read(ref, p.placementId, name);
    },
    plantOrphan: async () => (site.plantOrphan('orphan-1'), 'orphan-1'),
    breakCluster: async (ref) => void (site.clusters.get(ref)!.broken = true),
    fingerprint: async () => {
      const rows = await db.ops((tx) => tx.query('select cluster_ref, serial, spec from manual_clusters order by 1'));
      const work = await db.ops((tx) => tx.query('select operation_id, state from manual_operations order by 1'));
      return JSON.stringify([rows, work, [...site.clusters].map(([k, c]) => [k, c.serial, c.generation, [...c.placements]])]);
    },
    dispose: async () => {
      clearInterval(robot);
      while (busy) await new Promise((done) => setTimeout(done, 5));
      await db.close();
      await base.drop();
    },
  };
});

function assertOwnKey(site: FakeDriver, ref: string, p: { placementId: string; keys: readonly { secretBase64: string }[] }): void {
  const own = site.clusters.get(ref)?.placements.get(p.placementId);
  if (own && !own.keys.some((k) => k.secretBase64 === p.keys[0]?.secretBase64)) throw new Error('403 foreign key');
}
