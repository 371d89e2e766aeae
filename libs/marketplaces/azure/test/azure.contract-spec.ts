import { randomUUID } from 'node:crypto';
import { describeMarketplaceConformance, type TestPurchase } from '#marketplaces/core/testing';
import { AzureSandbox } from './support/sandbox-process.js';

const HOUR = 3_600_000;
const FORGERIES = ['wrong_key', 'wrong_audience', 'wrong_appid', 'wrong_tenant', 'expired', 'no_token'];

for (const quirks of ['documented', 'observed']) {
  describeMarketplaceConformance(`azure against the sandbox (${quirks})`, async () => {
    const sandbox = await AzureSandbox.start({ quirks });
    const { adapter, clock } = sandbox;
    // Fixed, so that an hour that turns during the run moves nothing.
    const thisHour = Math.floor(clock.now().getTime() / HOUR) * HOUR;
    const message = (p: TestPurchase, action: string): Record<string, unknown> => ({
      id: randomUUID(),
      subscriptionId: p.externalSubscriptionId,
      action,
      status: 'Succeeded',
      timeStamp: clock.now().toISOString(),
      operationRequestSource: 'Azure',
    });
    return {
      adapter,
      clock,
      closedHours: 22,
      detectsConflicts: true,
      purchase: async () => {
        const { subscriptionId, token } = await sandbox.buy();
        return {
          externalSubscriptionId: subscriptionId,
          externalPlanId: 'standard',
          dimensions: ['gib_hours_stored', 'mib_egress'],
          refs: {},
          landing: { token },
        };
      },
      closedHour: (_purchase, n) => new Date(thisHour - n * HOUR),
      end: (p) => sandbox.act(p.externalSubscriptionId, 'unsubscribe'),
      unknownMessage: (p) => sandbox.deliver(message(p, 'Transfer')),
      forgeries: async (p) => {
        const found: { what: string; request: (typeof sandbox.captured)[number]['request'] }[] = [];
        for (const what of FORGERIES) found.push({ what, request: (await sandbox.deliver(message(p, 'Unsubscribe'), what)).request });
        const genuine = (await sandbox.deliver(message(p, 'Unsubscribe'))).request;
        const big = { ...genuine, body: JSON.stringify({ ...message(p, 'Unsubscribe'), filler: 'x'.repeat(257 * 1024) }) };
        return [
          ...found,
          { what: 'too large', request: big },
          { what: 'no object', request: { ...genuine, body: '[]' } },
          { what: 'no JSON', request: { ...genuine, body: 'action=Unsubscribe' } },
        ];
      },
      requestPlan: async (p) => ({
        message: await sandbox.act(p.externalSubscriptionId, 'change-plan', { planId: 'premium' }),
        toExternalPlanId: 'premium',
      }),
      billed: async (p) =>
        (await sandbox.billed(p.externalSubscriptionId)).items.map((b) => ({
          dimension: b.dimension,
          quantity: b.quantity,
          hourStart: new Date(b.hour),
        })),
      loseUsageAnswer: async (how) =>
        void (await sandbox.fault(
          'batchUsageEvent',
          how === 'dropped' ? 'drop_after' : 'malformed_after',
          how === 'dropped' ? {} : { shape: how },
        )),
      throttleUsage: async () => void (await sandbox.fault('batchUsageEvent', 'throttle', { retryAfter: 7 })),
      dispose: () => sandbox.stop(),
    };
  });
}
