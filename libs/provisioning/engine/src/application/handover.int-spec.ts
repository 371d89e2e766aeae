import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidv7 } from '#platform';
import { engineHarness, type Harness } from '../testing/engine-harness.js';

let h: Harness;
beforeAll(async () => {
  h = await engineHarness();
});
afterAll(() => h?.close());

describe('a placement that is handed on', () => {
  it('keeps cluster, endpoint and keys; the driver is not asked, and what follows is told to the new subscription', async () => {
    const { placementId, subscriptionId } = await h.serving();
    const credentials = await h.ops((tx) => h.engine.credentials(tx, placementId));
    const before = await h.placement(placementId);
    const asked = h.driver.calls.length;
    const next = uuidv7();
    await h.ops((tx) => h.engine.transferPlacement(tx, placementId, next));
    await h.ops((tx) => h.engine.transferPlacement(tx, placementId, next));
    await h.settle();
    expect(h.driver.calls).toHaveLength(asked);
    expect(await h.placement(placementId)).toMatchObject({
      subscriptionId: next,
      tenantId: before.tenantId,
      clusterId: before.clusterId,
      endpoint: before.endpoint,
      phase: 'active',
    });
    expect(await h.ops((tx) => h.engine.credentials(tx, placementId))).toEqual(credentials);
    expect(await h.ops((tx) => h.engine.placementOfSubscription(tx, subscriptionId))).toBeNull();
    expect((await h.ops((tx) => h.engine.placementOfSubscription(tx, next)))?.placementId).toBe(placementId);

    await h.ops((tx) => h.engine.setLimits(tx, placementId, { hardQuotaBytes: 5n }));
    const [told] = await h.ops((tx) =>
      tx.query<{ subscription_id: string }>(`select subscription_id from operations where subject_id = $1 and kind = 'set_limits'`, [
        placementId,
      ]),
    );
    expect(told!.subscription_id).toBe(next);
  });

  it('is refused where the other has one of its own, and where access has ended', async () => {
    const [a, b] = [await h.serving(), await h.serving()];
    await expect(h.ops((tx) => h.engine.transferPlacement(tx, a.placementId, b.subscriptionId))).rejects.toThrow('placement.taken');
    await h.ops((tx) => h.engine.endAccess(tx, a.placementId, { at: h.clock.now() }));
    await expect(h.ops((tx) => h.engine.transferPlacement(tx, a.placementId, uuidv7()))).rejects.toThrow('placement.in_state');
  });

  it('while it is still being built goes on being built for the new one', async () => {
    const made = await h.request();
    const next = uuidv7();
    await h.ops((tx) => h.engine.transferPlacement(tx, made.placementId, next));
    await h.settle();
    expect(await h.placement(made.placementId)).toMatchObject({ phase: 'active', subscriptionId: next });
    expect(await h.ops((tx) => h.engine.progress(tx, next))).toMatchObject({ state: 'succeeded' });
  });
});
