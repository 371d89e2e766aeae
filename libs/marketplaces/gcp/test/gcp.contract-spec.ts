import { randomUUID } from 'node:crypto';
import { describeMarketplaceConformance } from '#marketplaces/core/testing';
import { CLOSED_HOURS, GcpSandbox } from './support/sandbox-process.js';

describeMarketplaceConformance('gcp against the sandbox', async () => {
  const sandbox = await GcpSandbox.start();
  const { clock } = sandbox;
  return {
    adapter: { ...sandbox.adapter, acknowledge: (truth, { tenantId }) => sandbox.acknowledge(truth, tenantId) },
    clock,
    closedHours: CLOSED_HOURS,
    // The sandbox refuses other content under a known id; whether Google does is not documented.
    detectsConflicts: true,
    purchase: async () => sandbox.testPurchase(await sandbox.buy()),
    closedHour: (purchase, n) => sandbox.closedHour(purchase.externalSubscriptionId, n),
    end: async (p) => {
      await sandbox.act(p.externalSubscriptionId, 'cancel-now');
      return sandbox.message(p.externalSubscriptionId, 'ENTITLEMENT_CANCELLED');
    },
    unknownMessage: async (p) => {
      const body = {
        eventId: randomUUID(),
        eventType: 'ENTITLEMENT_TRANSFERRED',
        providerId: 'harbor-storage-public',
        entitlement: { id: p.externalSubscriptionId, updateTime: clock.now().toISOString() },
        surprise: [1],
      };
      await sandbox.publish(Buffer.from(JSON.stringify(body)));
      return sandbox.message(p.externalSubscriptionId, 'ENTITLEMENT_TRANSFERRED');
    },
    requestPlan: async (p) => {
      await sandbox.act(p.externalSubscriptionId, 'change-plan', { planId: 'premium' });
      return { message: await sandbox.message(p.externalSubscriptionId, 'ENTITLEMENT_PLAN_CHANGE_REQUESTED'), toExternalPlanId: 'premium' };
    },
    billed: async (p) =>
      (await sandbox.billed(p.externalSubscriptionId)).map((b) => ({
        dimension: b.dimension,
        quantity: b.quantity,
        hourStart: new Date(b.hour),
      })),
    loseUsageAnswer: async (how) =>
      void (await sandbox.fault('report', how === 'dropped' ? 'drop_after' : 'malformed_after', how === 'dropped' ? {} : { shape: how })),
    throttleUsage: async () => void (await sandbox.fault('report', 'throttle', { retryAfter: 7 })),
    dispose: () => sandbox.stop(),
  };
});
