import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { uuidv7 } from '#platform';
import { engineHarness, type Harness } from '../testing/engine-harness.js';
import type { PlanWish } from './readiness.js';

let h: Harness;
beforeAll(async () => (h = await engineHarness({ placementPolicy: { cellCapacity: 1 } })));
afterAll(() => h?.close());
beforeEach(() => (h.driver.can = {}));

const WISH: PlanWish = { marketplace: 'azure', region: 'here', shape: 'small', features: { blob_endpoint: true } };
const refusal = (wish: Partial<PlanWish> = {}) => h.ops((tx) => h.engine.readinessRefusal(tx, { ...WISH, ...wish }));
const decide = (gate: string, state: 'green' | 'red' | 'unknown', change: { region?: string; marketplace?: string } = {}) =>
  h.ops((tx) =>
    h.engine.decideGate(tx, {
      variant: 'cloud_iaas',
      marketplace: 'azure',
      region: 'here',
      gate,
      state,
      reason: 'So it is.',
      by: 'ann',
      ...change,
    }),
  );
const shape = (state: 'validated' | 'unsupported', os_version = '*', region = '*') =>
  h.ops((tx) =>
    h.engine.decideShape(tx, {
      variant: 'cloud_iaas',
      region,
      os_version,
      shape: 'small',
      state,
      reason: 'Tried in the lab.',
      decided_by: 'ann',
    }),
  );
const stop = (on: boolean) => h.ops((tx) => h.engine.stopCreating(tx, { on, reason: 'Quota is short.', by: 'ann' }));
const ran = (result: string, suite_version = '1') =>
  h.ops((tx) =>
    tx.query(
      `insert into conformance_runs (run_id, placement_id, cluster_id, endpoint, driver, region, suite, suite_version, state, result, requested_by, created_at, finished_at)
       values ($1, $1, $1, 'x', 'fake', 'here', 'azcopy', $2, 'done', $3, 'ann', now(), clock_timestamp())`,
      [uuidv7(), suite_version, result],
    ),
  );

describe('what may be sold and built', () => {
  it('is open on one’s own machine, and refused by the gate’s name anywhere else until each is green', async () => {
    expect(await refusal()).toBeNull();
    h.driver.can = { variant: 'cloud_iaas' };
    const closed = (gate: string) => expect.objectContaining({ code: 'readiness.gate_closed', extra: expect.objectContaining({ gate }) });
    expect(await refusal()).toEqual(closed('variant.available'));
    await decide('variant.available', 'green');
    expect(await refusal()).toEqual(closed('shape.validated'));
    await shape('validated');
    expect(await refusal()).toEqual(closed('blob.azcopy'));
    // Of a version that asked for less.
    await ran('pass', '0');
    expect(await refusal()).toEqual(closed('blob.azcopy'));
    await ran('pass');
    expect(await refusal()).toBeNull();
    await ran('fail');
    expect(await refusal()).toEqual(closed('blob.azcopy'));
    await ran('pass');
    expect(await refusal({ features: { cmk: 'azure_key_vault' } })).toEqual(closed('capability.cmk.azure_key_vault'));
    expect(await refusal({ tenantName: 'north_wind' })).toEqual(closed('capability.tenant_name.no_underscore'));
    expect(await refusal({ features: { block_tls: true, os_version: '5.6' } })).toEqual(closed('capability.block.tls'));
    // Here and now: neither at another marketplace nor in another region.
    expect(await refusal({ marketplace: 'gcp' })).toEqual(closed('variant.available'));
    expect(await refusal({ region: 'there' })).toEqual(closed('variant.available'));
    await decide('variant.available', 'red', { region: '*', marketplace: '*' });
    expect(await refusal()).toEqual(closed('variant.available'));
    await decide('variant.available', 'unknown', { region: '*', marketplace: '*' });
    await expect(decide('blob.azcopy', 'green')).rejects.toMatchObject({ code: 'readiness.needs_proof' });
  });

  it('refuses a shape that was not validated before anything is made, by version and region', async () => {
    h.driver.can = { variant: 'cloud_iaas', versions: ['5.4'] };
    const before = await h.one<{ n: string }>('select count(*) as n from clusters');
    await shape('unsupported', '5.4', 'here');
    await expect(h.request()).rejects.toMatchObject({ code: 'shape.not_validated', extra: { shape: 'small', osVersion: '5.4' } });
    expect(await h.one('select count(*) as n from clusters')).toEqual(before);
    await shape('validated', '5.4', 'here');
    await expect(h.request()).resolves.toBeDefined();
    h.driver.can = { variant: 'gdc', versions: ['5.4'] };
    await expect(h.request()).rejects.toMatchObject({ code: 'shape.not_validated' });
  });

  it('makes no cluster while creation is stopped, also one that was asked for before, and goes on afterwards', async () => {
    await h.settle();
    const { placementId } = await h.request();
    await stop(true);
    await expect(h.request()).rejects.toMatchObject({ code: 'provisioning.stopped', kind: 'unavailable' });
    await h.settle(120_000);
    const { clusterId } = await h.clusterOf(placementId);
    expect(await h.ops((tx) => h.engine.getCluster(tx, clusterId))).toMatchObject({ phase: 'requested' });
    await stop(false);
    await h.settle();
    expect(await h.ops((tx) => h.engine.getCluster(tx, clusterId))).toMatchObject({ phase: 'active' });
    await stop(true);
    const bigger = { shape: 'large', nodes: 2, by: 'ann', reason: 'More is needed.' };
    await expect(h.ops((tx) => h.engine.resizeCluster(tx, clusterId, bigger))).rejects.toMatchObject({ code: 'provisioning.stopped' });
    await stop(false);
    await h.ops((tx) => h.engine.resizeCluster(tx, clusterId, bigger));
    await h.settle();
    // To give room back is never stopped.
    for (const capacityBytes of ['2000000', '1500000']) {
      await stop(capacityBytes !== '2000000');
      const less = { capacityBytes, by: 'ann', reason: 'Less is enough.' };
      expect(await h.ops((tx) => h.engine.resizeCluster(tx, clusterId, less))).toMatchObject({ operationId: expect.any(String) });
      await h.settle();
    }
    await stop(false);
  });

  it('shows the checks and the cost of what was planned', async () => {
    const { placementId } = await h.request();
    await h.settle();
    const { clusterId } = await h.clusterOf(placementId);
    expect(await h.ops((tx) => h.engine.getCluster(tx, clusterId))).toMatchObject({
      preflight: { ok: true, checks: [{ name: 'room', result: 'pass' }], at: expect.any(String) },
      cost: { amountPerHour: '0', currency: 'USD' },
    });
  });

  it('builds nothing that passes the limits of an entitlement', async () => {
    const request = (buildLimits: object, shapeName = 'small') =>
      h.ops((tx) =>
        h.engine.requestPlacement(tx, {
          tenantId: uuidv7(),
          subscriptionId: uuidv7(),
          region: 'here',
          shape: shapeName,
          limits: { hardQuotaBytes: 1n },
          buildLimits,
        }),
      );
    await expect(request({ maxNodes: 0 })).rejects.toMatchObject({ code: 'limit.max_nodes' });
    const dear = { amountPerHour: '3.20', currency: 'USD' };
    h.driver.on('plan', async (run) => {
      const result = (await run()) as { output: object };
      return { ...result, output: { ...result.output, cost: dear } };
    });
    const { placementId } = await request({ maxNodes: 1, maxCostPerHour: { amountPerHour: '3.19', currency: 'USD' } });
    await h.settle();
    h.driver.off('plan');
    const { clusterId } = await h.clusterOf(placementId);
    expect(await h.ops((tx) => h.engine.getCluster(tx, clusterId))).toMatchObject({
      phase: 'failed',
      cost: dear,
      error: { class: 'quota', code: 'limit.max_cost_per_hour', step: 'plan' },
    });
    expect(h.driver.fake.clusters.has((await h.clusterOf(placementId)).name)).toBe(false);
    const { placementId: small } = await request({ maxNodes: 1 });
    await h.settle();
    const at = await h.clusterOf(small);
    const wish = { shape: 'large', nodes: 2, by: 'ann', reason: 'More is needed.' };
    await expect(h.ops((tx) => h.engine.resizeCluster(tx, at.clusterId, wish))).rejects.toMatchObject({ code: 'limit.max_nodes' });
  });

  it('keeps an operator’s word on them for the renewal that takes the placement over', async () => {
    const made = await h.request();
    await h.settle();
    const word = { maxNodes: 3 };
    await h.ops((tx) => h.engine.overrideLimits(tx, { subscriptionId: made.subscriptionId, limits: word, by: 'ann', reason: 'Agreed.' }));
    const renewal = uuidv7();
    await h.ops((tx) => h.engine.transferPlacement(tx, made.placementId, renewal));
    const read = await h.ops((tx) => h.engine.readLimits(tx, renewal, { maxNodes: 1 }));
    expect(read).toMatchObject({ plan: { maxNodes: 1 }, effective: word, override: { limits: word, decided_by: 'ann' } });
  });
});
