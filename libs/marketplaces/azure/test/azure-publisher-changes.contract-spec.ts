import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MarketplaceBusy, MarketplaceUnknown, type PublisherChange, type SubscriptionTruth } from '#marketplaces/core';
import { AzureSandbox } from './support/sandbox-process.js';

/** Contract azure §3: PATCH or DELETE, 202 with Operation-Location, polled to its end; the purchase shows it only then. */
describe('what the publisher changes at the sandbox', () => {
  let sandbox: AzureSandbox;
  beforeAll(async () => {
    sandbox = await AzureSandbox.start();
  });
  afterAll(() => sandbox?.stop());
  beforeEach(async () => {
    sandbox.answer = () => ({ status: 200 });
    await sandbox.control('DELETE', '/faults');
    await sandbox.control('PUT', '/settings', { azure: { quirks: 'documented', partnerOperationDelaySeconds: 30 } });
  });

  const toPremium: PublisherChange = { kind: 'plan', toExternalPlanId: 'premium' };
  const truthOf = async (id: string): Promise<SubscriptionTruth> => (await sandbox.adapter.readTruth(id))!;
  const active = async (extra: Record<string, unknown> = {}): Promise<SubscriptionTruth> => {
    const { subscriptionId } = await sandbox.buy(extra);
    await sandbox.adapter.acknowledge(await truthOf(subscriptionId), { tenantId: randomUUID() });
    return truthOf(subscriptionId);
  };
  const sent = async (operation: string): Promise<number> =>
    (await sandbox.control<{ items: unknown[] }>('GET', `/calls?marketplace=azure&operation=${operation}&limit=2000`)).items.length;
  const ended = async (truth: SubscriptionTruth, change: PublisherChange, operationId: string | null): Promise<string> =>
    sandbox.until(async () => {
      await sandbox.advance(11);
      const { state } = await sandbox.adapter.readPublisherChange(truth.externalSubscriptionId, change, operationId);
      return state !== 'pending' && state;
    });

  it('is taken with an operation, and in force when that has succeeded [AZ-30]', async () => {
    const truth = await active();
    const started = await sandbox.adapter.startPublisherChange(truth, toPremium);
    expect(started).toMatchObject({ state: 'pending', externalOperationId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string });
    expect(await ended(truth, toPremium, started.externalOperationId)).toBe('succeeded');
    expect(await truthOf(truth.externalSubscriptionId)).toMatchObject({ externalPlanId: 'premium' });
    // Its message says that it is ours: nobody decides it a second time.
    const told = await sandbox.webhook((c) => c.body['id'] === started.externalOperationId);
    expect((await sandbox.adapter.normalise(told.stored))[0]!.change).toMatchObject({ requestedByUs: true });
  });

  it('asks for seats without naming a plan [AZ-30]', async () => {
    const truth = await active({ offerId: 'seats', planId: 'team', quantity: 5 });
    const seats: PublisherChange = { kind: 'quantity', toQuantity: 8 };
    const started = await sandbox.adapter.startPublisherChange(truth, seats);
    expect(await ended(truth, seats, started.externalOperationId)).toBe('succeeded');
    expect(await truthOf(truth.externalSubscriptionId)).toMatchObject({ quantity: 8, externalPlanId: 'team' });
  });

  it('whose answer was lost is found again, not asked for twice [AZ-30]', async () => {
    const truth = await active();
    await sandbox.fault('patch', 'drop_after');
    const before = await sent('patch');
    await expect(sandbox.adapter.startPublisherChange(truth, toPremium)).rejects.toBeInstanceOf(MarketplaceUnknown);
    const again = await sandbox.adapter.startPublisherChange(truth, toPremium);
    expect(again).toMatchObject({ state: 'pending', externalOperationId: expect.any(String) as string });
    expect((await sent('patch')) - before).toBe(1);
    expect(await ended(truth, toPremium, again.externalOperationId)).toBe('succeeded');
    expect(await sandbox.adapter.startPublisherChange(truth, toPremium)).toEqual({ state: 'succeeded', externalOperationId: null });
  });

  it('has not been sent where the call was throttled or cut before it arrived', async () => {
    const truth = await active();
    await sandbox.fault('patch', 'throttle', { retryAfter: 7 });
    await expect(sandbox.adapter.startPublisherChange(truth, toPremium)).rejects.toMatchObject({ retryAfterMs: 7_000 });
    await sandbox.fault('listOperations', 'status');
    await expect(sandbox.adapter.startPublisherChange(truth, toPremium)).rejects.toBeInstanceOf(MarketplaceBusy);
    expect(await sandbox.adapter.readPublisherChange(truth.externalSubscriptionId, toPremium, null)).toMatchObject({ state: 'pending' });
  });

  it('is refused for a plan that is not offered and for a purchase of a reseller [AZ-29]', async () => {
    const truth = await active();
    await expect(sandbox.adapter.startPublisherChange(truth, { kind: 'plan', toExternalPlanId: 'nowhere' })).rejects.toMatchObject({
      code: 'azure.refused',
    });
    const csp = await active({ csp: true });
    expect(csp.readOnly).toBe(true);
    const before = await sent('patch');
    await expect(sandbox.adapter.startPublisherChange(csp, toPremium)).rejects.toMatchObject({ code: 'azure.read_only' });
    expect(await sent('patch')).toBe(before);
  });

  it('cancels for good, once [AZ-30]', async () => {
    const truth = await active();
    const cancel: PublisherChange = { kind: 'cancel' };
    await sandbox.fault('delete', 'drop_after');
    await expect(sandbox.adapter.startPublisherChange(truth, cancel)).rejects.toBeInstanceOf(MarketplaceUnknown);
    const again = await sandbox.adapter.startPublisherChange(truth, cancel);
    expect(await ended(truth, cancel, again.externalOperationId)).toBe('succeeded');
    expect((await truthOf(truth.externalSubscriptionId)).state).toBe('ended');
    expect(await sandbox.adapter.startPublisherChange(truth, cancel)).toMatchObject({ state: 'succeeded' });
    await expect(sandbox.adapter.startPublisherChange(truth, toPremium)).rejects.toMatchObject({ code: 'azure.subscription_ended' });
  });
});
