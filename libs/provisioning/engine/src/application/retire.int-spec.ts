import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidv7 } from '#platform';
import { DriverError, type InventoryItem } from '#provisioning/core';
import { engineHarness, type Harness } from '../testing/engine-harness.js';

let h: Harness;
const withdrawn: string[] = [];
beforeAll(async () => {
  h = await engineHarness({ withdrawCellKey: async (_tx, id) => void withdrawn.push(id), placementPolicy: { cellCapacity: 1 } });
});
afterAll(() => h?.close());

const WHY = { by: 'operator:ann', reason: 'Its lease is up.' };
const cluster = (id: string) => h.ops((tx) => h.engine.getCluster(tx, id));
const retire = (c: { clusterId: string; name: string }, confirm = c.name) =>
  h.ops((tx) => h.engine.retireCluster(tx, c.clusterId, { ...WHY, confirm }));
/** A cluster of its own, with a placement that serves. */
async function serving() {
  const made = await h.request();
  await h.settle();
  return { ...made, ...(await h.clusterOf(made.placementId)) };
}
async function emptied() {
  const c = await serving();
  await h.ops((tx) => h.engine.endAccess(tx, c.placementId, { at: h.clock.now() }));
  await h.settle();
  await h.purge(c.placementId);
  await h.settle();
  return c;
}
const stepsOf = async (operationId: string | null) =>
  (await h.ops((tx) => h.engine.listSteps(tx, operationId!))).map((s) => `${s.name} ${s.state}`);

describe('a cluster that is not wanted any more', () => {
  it('gets no more placements when it is cordoned, keeps those it has, and gets new ones when it is not', async () => {
    const c = await serving();
    await h.ops((tx) => h.engine.endAccess(tx, c.placementId, { at: h.clock.now() }));
    await h.settle();
    await h.purge(c.placementId);
    await h.settle();
    await h.ops((tx) => h.engine.cordonCluster(tx, c.clusterId));
    const elsewhere = await serving();
    expect(elsewhere.clusterId).not.toBe(c.clusterId);
    await h.ops((tx) => h.engine.uncordonCluster(tx, c.clusterId));
    expect((await serving()).clusterId).toBe(c.clusterId);
  });

  it('is taken down when it is empty and named, is looked for, and leaves nothing', async () => {
    const c = await emptied();
    await expect(retire(c, 'another')).rejects.toMatchObject({ code: 'cluster.not_confirmed' });
    const { operationId } = await retire(c);
    expect(await retire(c)).toEqual({ operationId });
    await h.settle();
    expect(await cluster(c.clusterId)).toMatchObject({
      phase: 'retired',
      retiredAt: expect.any(Date),
      retirement: { ...WHY, survivors: [] },
      error: null,
    });
    expect(await stepsOf(operationId)).toEqual(['delete ok', 'sweep ok']);
    expect(await h.ops((tx) => h.engine.getOperation(tx, operationId!))).toMatchObject({
      kind: 'retire_cluster',
      state: 'succeeded',
      step: 1,
      steps: 1,
    });
    expect(withdrawn).toContain(c.clusterId);
    expect(await h.one('select cell_key_sealed from clusters where cluster_id = $1', [c.clusterId])).toEqual({ cell_key_sealed: null });
    expect((await h.engine.takeInventory()).orphans).toEqual([]);
    // What comes next goes elsewhere.
    expect((await serving()).clusterId).not.toBe(c.clusterId);
    await expect(h.ops((tx) => h.engine.cordonCluster(tx, c.clusterId))).rejects.toMatchObject({ code: 'cluster.in_state' });
  });

  it('is not taken down while anything of a tenant is on it, kept data included', async () => {
    const c = await serving();
    await expect(retire(c)).rejects.toMatchObject({ code: 'cluster.not_empty', extra: { placements: { active: 1 } } });
    await h.ops((tx) => h.engine.endAccess(tx, c.placementId, { at: h.clock.now() }));
    await h.settle();
    await expect(retire(c)).rejects.toMatchObject({ code: 'cluster.not_empty', extra: { placements: { ended: 1 } } });
    expect(await cluster(c.clusterId)).toMatchObject({ phase: 'active' });
  });

  it('is not gone because a call said so: what the inventory still shows is named, tried again, and then a person’s', async () => {
    const c = await emptied();
    const survivor: InventoryItem = {
      externalId: 'nic-7',
      kind: 'network-card',
      clusterRef: c.name,
      state: 'running',
      managed: true,
      detail: '',
    };
    let shows = true;
    h.driver.on('inventory', async (run) => {
      const result = (await run()) as { output: { items: InventoryItem[] } };
      return shows ? { ...result, output: { items: [...result.output.items, survivor] } } : result;
    });
    try {
      const { operationId } = await retire(c);
      await h.settle();
      expect(await cluster(c.clusterId)).toMatchObject({
        phase: 'failed',
        retiredAt: null,
        error: { code: 'cluster.survivors', detail: expect.stringContaining('network-card nic-7') },
        retirement: { survivors: ['network-card nic-7'] },
      });
      expect((await h.ops((tx) => h.engine.getOperation(tx, operationId!))).state).toBe('failed');
      await expect(h.ops((tx) => h.engine.uncordonCluster(tx, c.clusterId))).rejects.toMatchObject({ code: 'cluster.in_state' });
      // A person has removed it.
      shows = false;
      await h.ops((tx) => h.engine.retryOperation(tx, operationId!));
      await h.settle();
      expect(await cluster(c.clusterId)).toMatchObject({ phase: 'retired', retirement: { survivors: [] } });
    } finally {
      h.driver.off('inventory');
    }
  });

  it('goes on where a dead worker stopped, and asks the driver for the very same deletion', async () => {
    const c = await emptied();
    const before = h.driver.count('delete');
    h.driver.on('delete', async (run, nth) => {
      const answer = await run();
      if (nth === before + 1) throw new DriverError('unknown', 'driver.lost', 'The answer was lost.');
      return answer;
    });
    try {
      const { operationId } = await retire(c);
      await h.settle();
      expect(await cluster(c.clusterId)).toMatchObject({ phase: 'retired' });
      expect(
        new Set(
          h.driver
            .of('delete')
            .slice(before)
            .map((d) => d.operationId),
        ).size,
      ).toBe(1);
      expect(await stepsOf(operationId)).toEqual(['delete ok', 'sweep ok']);
    } finally {
      h.driver.off('delete');
    }
  });

  it('that does not exist is said so', async () => {
    await expect(h.ops((tx) => h.engine.cordonCluster(tx, uuidv7()))).rejects.toMatchObject({ code: 'cluster.unknown' });
  });

  it('ends the upgrade that waits for its window, too', async () => {
    const c = await emptied();
    const window = { notBefore: new Date(h.clock.now().getTime() + 3_600_000), notAfter: null };
    const booked = await h.ops((tx) => h.engine.bookUpgrade(tx, c.clusterId, { ...WHY, version: '2' }, window));
    await retire(c);
    expect(await h.ops((tx) => h.engine.getOperation(tx, booked.operationId!))).toMatchObject({ state: 'cancelled' });
    await h.settle(7_200_000);
    expect(await h.ops((tx) => h.engine.getCluster(tx, c.clusterId))).toMatchObject({ phase: 'retired', booked: null });
    expect(await h.one(`select count(*)::int as n from tasks where state = 'parked'`)).toEqual({ n: 0 });
  });
});
