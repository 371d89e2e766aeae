import { randomUUID } from 'node:crypto';
import type { MarketplaceAdapter, StoredInbound } from '#marketplaces/core';
import { describeMarketplaceConformance, type TestPurchase } from '#marketplaces/core/testing';
import { Purchases } from './support/purchases.js';
import { AwsSandbox } from './support/sandbox-process.js';

const HOUR = 3_600_000;

for (const identicalResend of ['success', 'duplicate'] as const) {
  describeMarketplaceConformance(`aws against the sandbox (an identical record again: ${identicalResend})`, async () => {
    const sandbox = await AwsSandbox.start({ identicalResend }, { identicalResend });
    const { clock } = sandbox;
    const purchases = new Purchases(sandbox.adapter);
    const agreements = new Map<string, string>();
    const thisHour = Math.floor(clock.now().getTime() / HOUR) * HOUR;
    const take = async (stored: StoredInbound): Promise<void> => {
      for (const event of await sandbox.adapter.normalise(stored)) purchases.apply(event);
    };
    // The adapter remembers nothing: what it answers is kept beside it, as the app keeps it with the subscription.
    const adapter: MarketplaceAdapter = {
      ...sandbox.adapter,
      readTruth: (id, refs) => sandbox.adapter.readTruth(id, purchases.truths.get(id)?.refs ?? refs),
      acknowledge: async (truth) => {
        await purchases.serve(truth.externalSubscriptionId);
      },
    };
    const detailOf = (p: TestPurchase): Record<string, unknown> => ({
      agreement: { id: agreements.get(p.externalSubscriptionId) },
      license: { arn: p.externalSubscriptionId },
    });
    return {
      adapter,
      clock,
      closedHours: 22,
      // Where an identical record is answered like a different one, the two cannot be told apart.
      detectsConflicts: identicalResend === 'success',
      purchase: async () => {
        const { agreementId, licenseId, registration } = await sandbox.buy();
        agreements.set(licenseId, agreementId);
        const resolution = await sandbox.adapter.resolveLanding(registration.fields);
        if (!resolution.ok) throw new Error(`the landing was not resolved: ${resolution.code}`);
        purchases.apply({
          kind: 'purchased',
          marketplace: 'aws',
          externalSubscriptionId: licenseId,
          occurredAt: clock.now(),
          truth: resolution.truth,
          note: 'landing',
        });
        await take((await sandbox.told(agreementId, 'Purchase Agreement Created')).stored);
        await take((await sandbox.told(agreementId, 'License Updated')).stored);
        return {
          externalSubscriptionId: licenseId,
          externalPlanId: 'standard',
          dimensions: ['mib_hours_stored', 'mib_egress'],
          refs: purchases.truths.get(licenseId)!.refs,
          landing: { 'x-amzn-marketplace-token': registration.fields['x-amzn-marketplace-token']! },
        };
      },
      closedHour: (_purchase, n) => new Date(thisHour - n * HOUR),
      end: async (p) => {
        const agreementId = agreements.get(p.externalSubscriptionId)!;
        await sandbox.act(agreementId, 'cancel', { order: 'deprovisioned_first' });
        return sandbox.told(agreementId, 'License Deprovisioned');
      },
      unknownMessage: (p) => sandbox.send({ id: randomUUID(), detailType: 'License Polished - Manufacturer', detail: detailOf(p) }),
      forgeries: async (p) => {
        const event = (over: Record<string, string>) =>
          sandbox.send({ id: randomUUID(), detailType: 'License Deprovisioned - Manufacturer', detail: detailOf(p), ...over });
        const genuine = (await event({})).request;
        return [
          { what: 'wrong secret', request: (await event({ secret: 'wrong' })).request },
          { what: 'no secret', request: (await event({ secret: 'none' })).request },
          { what: 'another source', request: (await event({ source: 'aws.s3' })).request },
          {
            what: 'too large',
            request: { ...genuine, body: JSON.stringify({ ...(JSON.parse(genuine.body) as object), filler: 'x'.repeat(257 * 1024) }) },
          },
          { what: 'no object', request: { ...genuine, body: '[]' } },
          { what: 'no JSON', request: { ...genuine, body: 'detail-type=x' } },
        ];
      },
      billed: async (p) =>
        (await sandbox.billed(p.externalSubscriptionId)).map((b) => ({
          dimension: b.dimension,
          quantity: b.quantity,
          hourStart: new Date(b.hour),
        })),
      loseUsageAnswer: async (how) =>
        void (await sandbox.fault(
          'batchMeterUsage',
          how === 'dropped' ? 'drop_after' : 'malformed_after',
          how === 'dropped' ? {} : { shape: how },
        )),
      throttleUsage: async () => void (await sandbox.fault('batchMeterUsage', 'throttle')),
      dispose: () => sandbox.stop(),
    };
  });
}
