import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DriverError } from '#provisioning/core';
import { engineHarness, type Harness } from '../testing/engine-harness.js';

const HOUR = 3_600_000;
const BY = { by: 'operator:test', reason: 'The buyer asked for it.' };

let h: Harness;
beforeAll(async () => {
  h = await engineHarness();
  h.driver.can = { hardQuota: true };
});
afterAll(() => h?.close());

/** Looks at the place and writes down what that means. */
async function look(id: string): Promise<string> {
  const seen = await h.engine.lookForData(id);
  return (await h.ops((tx) => h.engine.noteExportLook(tx, id, seen, new Date(h.clock.now().getTime() + 168 * HOUR)))).state;
}
const purge = (id: string) => h.ops((tx) => h.engine.purge(tx, id));
const open = (id: string, hours: number) =>
  h.ops((tx) => h.engine.openExport(tx, id, { ...BY, until: new Date(h.clock.now().getTime() + hours * HOUR) }));
const refused = { code: 'placement.export_open' };

/** A placement whose access has ended, with what its buyer left there. */
async function ended(left?: string) {
  const made = await h.request();
  await h.settle(60_000);
  const { name } = await h.clusterOf(made.placementId);
  if (left !== undefined) h.driver.fake.write(name, made.placementId, 'a', left);
  await h.ops((tx) => h.engine.endAccess(tx, made.placementId, { at: h.clock.now() }));
  await h.settle(60_000);
  return { ...made, name, read: () => h.driver.fake.read(name, made.placementId, 'a') };
}

describe('data whose access has ended', () => {
  it('is not deleted before anybody has looked whether it is there', async () => {
    const p = await ended();
    await expect(purge(p.placementId)).rejects.toMatchObject({ ...refused, extra: { export: null } });
    expect(await look(p.placementId)).toBe('not_needed');
    expect((await h.placement(p.placementId)).export).toMatchObject({ state: 'not_needed', storedBytes: '0', by: 'control plane' });
    await purge(p.placementId);
    await h.settle(60_000);
    expect((await h.placement(p.placementId)).phase).toBe('purged');
  });

  it('is kept while it is there and nobody has said that it was taken along, and goes once somebody has', async () => {
    const p = await ended('1234567');
    expect(await look(p.placementId)).toBe('open');
    await expect(purge(p.placementId)).rejects.toMatchObject({ ...refused, extra: { export: 'open' } });
    expect((await h.placement(p.placementId)).export).toMatchObject({ state: 'open', storedBytes: '7', seenAt: expect.any(Date) });
    await h.ops((tx) => h.engine.decideExport(tx, p.placementId, { ...BY, state: 'confirmed' }));
    expect((await h.placement(p.placementId)).export).toMatchObject({ state: 'confirmed', storedBytes: '7', ...BY });
    // A later look does not undo a person's word.
    expect(await look(p.placementId)).toBe('confirmed');
    await purge(p.placementId);
    await h.settle(60_000);
    expect((await h.placement(p.placementId)).phase).toBe('purged');
    await expect(h.ops((tx) => h.engine.decideExport(tx, p.placementId, { ...BY, state: 'waived' }))).rejects.toMatchObject({
      code: 'placement.in_state',
    });
    await expect(open(p.placementId, 1)).rejects.toMatchObject({ code: 'placement.in_state' });
  });

  it('is taken for there where its cluster does not say', async () => {
    const p = await ended();
    h.driver.on('observe', async (run) => {
      const result = (await run()) as { output: { placements: { storedBytes: string | null }[] } };
      return {
        ...result,
        output: { ...result.output, placements: result.output.placements.map((one) => ({ ...one, storedBytes: null })) },
      };
    });
    expect(await look(p.placementId)).toBe('open');
    h.driver.on('observe', () => Promise.reject(new Error('no route')));
    expect(await look(p.placementId)).toBe('open');
    h.driver.off('observe');
    expect((await h.placement(p.placementId)).export).toMatchObject({ storedBytes: null, reason: expect.stringContaining('does not say') });
    expect(await look(p.placementId)).toBe('not_needed');
  });

  it('can be read for a while and not written, and is closed again by itself', async () => {
    const p = await ended('kept');
    const { lastSample, accessEndedAt } = await h.placement(p.placementId);
    await look(p.placementId);
    expect(p.read).toThrow('403');
    await expect(h.ops((tx) => h.engine.credentials(tx, p.placementId))).rejects.toMatchObject({ code: 'placement.in_state' });
    const { operationId } = await open(p.placementId, 2);
    await h.settle(60_000);
    expect(await h.ops((tx) => h.engine.getOperation(tx, operationId!))).toMatchObject({ kind: 'open_export', state: 'succeeded' });
    expect(await h.placement(p.placementId)).toMatchObject({
      phase: 'exporting',
      export: { state: 'open', accessUntil: expect.any(Date) },
    });
    expect(p.read()).toBe('kept');
    expect(h.driver.fake.clusters.get(p.name)!.placements.get(p.placementId)).toMatchObject({
      state: 'active',
      limits: { hardQuotaBytes: '0' },
    });
    // What is set aside for it stays set aside.
    expect((await h.placement(p.placementId)).desired.limits.hardQuotaBytes).toBe('1000000');
    expect((await h.ops((tx) => h.engine.credentials(tx, p.placementId))).keys).toHaveLength(1);
    await expect(purge(p.placementId)).rejects.toMatchObject({ code: 'placement.in_state' });
    await expect(h.ops((tx) => h.engine.resume(tx, p.placementId))).rejects.toMatchObject({ code: 'placement.in_state' });
    // The end of the purchase told once more does not cut it short.
    expect(await h.ops((tx) => h.engine.endAccess(tx, p.placementId, { at: h.clock.now() }))).toEqual({ operationId: null });

    // More time: the first end passes.
    expect(await open(p.placementId, 4)).toEqual({ operationId: null });
    await h.settle(3 * HOUR);
    expect((await h.placement(p.placementId)).phase).toBe('exporting');
    await h.settle(2 * HOUR);
    const closed = await h.placement(p.placementId);
    expect(closed).toMatchObject({ phase: 'ended', lastSample, accessEndedAt });
    expect(p.read).toThrow('403');
    expect(h.events.filter((e) => e.placementId === p.placementId).map((e) => e.type)).toEqual([
      'placement.active',
      'placement.access_ended',
      'placement.export_closed',
    ]);
    await expect(purge(p.placementId)).rejects.toMatchObject(refused);
  });

  it('is closed at once when somebody says that it was taken along', async () => {
    const p = await ended('kept');
    await open(p.placementId, 24);
    await h.settle(60_000);
    await h.ops((tx) => h.engine.decideExport(tx, p.placementId, { ...BY, state: 'confirmed' }));
    await h.settle(60_000);
    expect(await h.placement(p.placementId)).toMatchObject({ phase: 'ended', export: { state: 'confirmed', accessUntil: null } });
    expect(p.read).toThrow('403');
    // Somebody who changes his mind in time gets to it once more, and has to say so again.
    await open(p.placementId, 1);
    await h.settle(60_000);
    expect(p.read()).toBe('kept');
    await h.settle(2 * HOUR);
    await expect(purge(p.placementId)).rejects.toMatchObject(refused);
  });

  it('is not opened by a driver that cannot refuse writes, nor before access has ended', async () => {
    const serving = await h.request();
    await h.settle(60_000);
    await expect(open(serving.placementId, 1)).rejects.toMatchObject({ code: 'placement.in_state' });
    const p = await ended('kept');
    h.driver.can = { hardQuota: false };
    await expect(open(p.placementId, 1)).rejects.toMatchObject({ code: 'export.unsupported' });
    h.driver.can = { hardQuota: true };
  });

  it('is opened and closed once the cause is gone, where its place refused that at first', async () => {
    const p = await ended('kept');
    const operations = async () =>
      (await h.ops((tx) => h.engine.listOperations(tx, { limit: 20 }, { subjectId: p.placementId }))).items.map((o) => [o.kind, o.state]);
    const refuse = () => h.driver.on('configure', () => Promise.reject(new DriverError('permission', 'fake.denied', 'Not allowed.')));
    const retry = async (operationId: string | null) => {
      h.driver.off('configure');
      await h.ops((tx) => h.engine.retryOperation(tx, operationId!));
      await h.settle(60_000);
    };
    refuse();
    const opening = await open(p.placementId, 1);
    await h.settle(60_000);
    expect((await operations())[0]).toEqual(['open_export', 'failed']);
    await retry(opening.operationId);
    expect((await operations())[0]).toEqual(['open_export', 'succeeded']);
    expect(p.read()).toBe('kept');
    refuse();
    const closing = await h.ops((tx) => h.engine.closeExport(tx, p.placementId));
    await h.settle(60_000);
    expect((await operations())[0]).toEqual(['close_export', 'failed']);
    await retry(closing.operationId);
    expect((await operations())[0]).toEqual(['close_export', 'succeeded']);
    expect((await h.placement(p.placementId)).phase).toBe('ended');
    expect(p.read).toThrow('403');
  });
});
