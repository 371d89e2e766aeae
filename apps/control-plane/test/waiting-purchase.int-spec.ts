import { describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { applyChangedRights } from '../src/processes/complete-fulfillment.js';
import { requestPlacement } from '../src/processes/provision-purchase.js';
import { applyEvent } from '../src/processes/normalise-inbound.js';
import { AwsFlows } from './support/aws-flows.js';

const at = (time: string): Date => new Date(`2026-03-10T${time.length === 5 ? `${time}:00` : time}Z`);
const START = at('10:00');

describe('a purchase with a future start', () => {
  it('is read again on its day where the marketplace tells nothing then, and gets its placement [AW-20]', async () => {
    const f = await AwsFlows.open(START);
    try {
      const term = { unit: null, startsAt: at('12:00'), endsAt: null };
      const { externalSubscriptionId } = f.fake.purchase({ state: 'scheduled', term });
      const id = subscriptionIdOf('azure', externalSubscriptionId);
      const truth = (await f.fake.readTruth(externalSubscriptionId))!;
      await f.ops((tx) =>
        applyEvent(
          f.p,
          tx,
          { kind: 'purchased', marketplace: 'azure', externalSubscriptionId, occurredAt: START, truth, note: 'bought' },
          null,
        ),
      );
      const tenant = await f.ops(async (tx) => {
        const made = await f.p.tenants.ensureForPurchase(tx, { purchaseId: id, displayName: 'Winter', region: 'here', contact: null });
        await f.p.subscriptions.bindTenant(tx, id, made.tenantId);
        return made.tenantId;
      });
      await f.until(at('11:59'));
      expect(await f.rows('select 1 from placements where tenant_id = $1', [tenant])).toEqual([]);
      expect((await f.ops((tx) => f.p.subscriptions.get(tx, id))).state).toBe('scheduled');
      // Its clock is a little behind ours.
      await f.until(at('12:04'));
      expect((await f.ops((tx) => f.p.subscriptions.get(tx, id))).state).toBe('scheduled');
      f.fake.patch(externalSubscriptionId, { state: 'pending_fulfillment' });
      await f.until(at('12:10'));
      expect((await f.ops((tx) => f.p.subscriptions.get(tx, id))).state).toBe('active');
      expect(await f.rows('select phase from placements where tenant_id = $1', [tenant])).toEqual([{ phase: 'active' }]);
    } finally {
      await f.close();
    }
  });
});

describe('limits of a purchase that waits for its activation', () => {
  it('follow a change of its plan, although nothing is granted yet', async () => {
    const f = await AwsFlows.open(START);
    try {
      const { externalSubscriptionId } = f.fake.purchase({ externalPlanId: 'standard' });
      const id = subscriptionIdOf('azure', externalSubscriptionId);
      const tell = async (): Promise<void> => {
        const truth = (await f.fake.readTruth(externalSubscriptionId))!;
        const event = {
          kind: 'changed' as const,
          marketplace: 'azure' as const,
          externalSubscriptionId,
          occurredAt: START,
          truth,
          note: 'told',
        };
        await f.ops((tx) => applyEvent(f.p, tx, event, null));
      };
      await tell();
      await f.ops(async (tx) => {
        const made = await f.p.tenants.ensureForPurchase(tx, { purchaseId: id, displayName: 'Winter', region: 'here', contact: null });
        await f.p.subscriptions.bindTenant(tx, id, made.tenantId);
      });
      // Outside its lane, where the activation that follows would be next.
      const task = { completeIn: () => Promise.resolve() } as never;
      await requestPlacement(f.p, { subscriptionId: id }, task);
      const limit = async (): Promise<unknown> =>
        (
          await f.rows<{ q: string }>(`select desired #>> '{limits,hardQuotaBytes}' as q from placements where subscription_id = $1`, [id])
        )[0]?.q;
      const before = await limit();
      f.fake.patch(externalSubscriptionId, { externalPlanId: 'premium' });
      await tell();
      await applyChangedRights(f.p, { subscriptionId: id }, task);
      const plan = await f.ops(async (tx) => f.p.catalog.get(tx, (await f.p.subscriptions.get(tx, id)).planVersionId!));
      expect(await f.rows('select 1 from quotas where subscription_id = $1', [id])).toEqual([]);
      expect(await limit()).toBe(plan.quotas.find((q) => q.name === 'storage_bytes')!.hardLimit);
      expect(await limit()).not.toBe(before);
    } finally {
      await f.close();
    }
  });
});
