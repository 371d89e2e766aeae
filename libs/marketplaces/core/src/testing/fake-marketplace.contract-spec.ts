import { ManualClock } from '#platform/testing';
import { describeMarketplaceConformance } from './conformance.js';
import { FakeMarketplace } from './fake-marketplace.js';

const HOUR = 3_600_000;

describeMarketplaceConformance('in-memory fake', async () => {
  const clock = new ManualClock(new Date('2026-03-09T10:20:00Z'));
  const fake = new FakeMarketplace(clock);
  const told = (request: ReturnType<FakeMarketplace['message']>) => ({ request, stored: fake.stored(request) });
  return {
    adapter: fake,
    clock,
    closedHours: 22,
    detectsConflicts: true,
    purchase: async () => {
      const { externalSubscriptionId, token } = fake.purchase();
      return { externalSubscriptionId, externalPlanId: 'standard', dimensions: ['stored', 'egress'], refs: {}, landing: { token } };
    },
    closedHour: (_purchase, n) => new Date(Math.floor(clock.now().getTime() / HOUR) * HOUR - n * HOUR),
    end: async (p) => told(fake.setState(p.externalSubscriptionId, 'ended')),
    unknownMessage: async (p) => told(fake.message(p.externalSubscriptionId, 'transfer')),
    forgeries: async (p) => [{ what: 'no secret', request: { ...fake.message(p.externalSubscriptionId, 'ended'), headers: {} } }],
    requestPlan: async (p) => ({
      message: told(fake.requestChange(p.externalSubscriptionId, { externalPlanId: 'premium' }).message),
      toExternalPlanId: 'premium',
    }),
    billed: async (p) =>
      fake.billed(p.externalSubscriptionId).map((b) => ({ dimension: b.dimension, quantity: b.quantity, hourStart: new Date(b.hour) })),
    loseUsageAnswer: async () => fake.failNext('submitUsage', 'lost'),
    throttleUsage: async () => fake.failNext('submitUsage', 'busy'),
    dispose: async () => undefined,
  };
});
