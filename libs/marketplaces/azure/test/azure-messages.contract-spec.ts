import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type FulfillmentEvent, MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, type SubscriptionTruth } from '#marketplaces/core';
import { AzureSandbox } from './support/sandbox-process.js';

describe('azure messages against the sandbox', () => {
  let sandbox: AzureSandbox;
  beforeAll(async () => {
    sandbox = await AzureSandbox.start();
  });
  afterAll(() => sandbox?.stop());
  beforeEach(async () => {
    sandbox.answer = () => ({ status: 200 });
    await sandbox.control('DELETE', '/faults');
    await sandbox.control('PUT', '/settings', { azure: { quirks: 'documented', revertAfterRefusal: false } });
  });

  const truthOf = async (id: string): Promise<SubscriptionTruth> => (await sandbox.adapter.readTruth(id))!;
  const active = async (extra: Record<string, unknown> = {}): Promise<string> => {
    const { subscriptionId } = await sandbox.buy(extra);
    await sandbox.adapter.acknowledge(await truthOf(subscriptionId), { tenantId: randomUUID() });
    return subscriptionId;
  };
  const only = async (captured: { stored: Parameters<typeof sandbox.adapter.normalise>[0] }): Promise<FulfillmentEvent> => {
    const events = await sandbox.adapter.normalise(captured.stored);
    expect(events).toHaveLength(1);
    return events[0]!;
  };
  const soon = (): Date => new Date(sandbox.clock.now().getTime() + 5_000);
  const longAgo = (): Date => new Date(sandbox.clock.now().getTime() - 120_000);
  const aged = <T extends { stored: Parameters<typeof sandbox.adapter.normalise>[0] }>(captured: T): T => ({
    ...captured,
    stored: { ...captured.stored, receivedAt: longAgo() },
  });

  describe('messages', () => {
    it('of suspension, reinstatement, renewal and auto-activation are what the truth bears out [AZ-17]', async () => {
      const id = await active();
      const term = (await truthOf(id)).term.endsAt!;
      expect(await only(await sandbox.act(id, 'suspend'))).toMatchObject({ kind: 'suspended', truth: { state: 'suspended' } });
      expect(await only(await sandbox.act(id, 'reinstate'))).toMatchObject({ kind: 'reinstated', truth: { state: 'active' } });
      const renewed = await only(await sandbox.act(id, 'renew'));
      expect(renewed).toMatchObject({ kind: 'renewed', truth: { term: { startsAt: term } } });
      const { subscriptionId } = await sandbox.buy({ autoActivate: true });
      expect(await only(await sandbox.webhook((c) => c.body['subscriptionId'] === subscriptionId))).toMatchObject({
        kind: 'purchased',
        truth: { state: 'active' },
      });
    });

    it('of a reinstatement that waits for our word are answered, once, where the configuration says so [AZ-18]', async () => {
      await sandbox.control('PUT', '/settings', { azure: { reinstate: 'patch' } });
      const id = await active();
      await sandbox.act(id, 'suspend');
      const told = await sandbox.act(id, 'reinstate');
      expect(sandbox.adapter.handshake(told.stored)).toBeNull();
      const patching = sandbox.adapterWith({ reinstate: 'patch' });
      const handshake = patching.handshake(told.stored)!;
      expect(handshake).toMatchObject({ operation: 'acceptReinstate', intent: { externalSubscriptionId: id } });
      await sandbox.fault('patchOperation', 'drop_after');
      await expect(handshake.run()).rejects.toBeInstanceOf(MarketplaceUnknown);
      expect(await handshake.run()).toEqual({ answered: false });
      expect(await only(told)).toMatchObject({ kind: 'reinstated', truth: { state: 'active' } });
      const forged = { ...told.stored, body: JSON.stringify({ ...(JSON.parse(told.stored.body) as object), id: randomUUID() }) };
      expect(await patching.handshake(forged)!.run()).toEqual({ answered: false });
      await sandbox.control('PUT', '/settings', { azure: { reinstate: 'notice' } });
    });

    it('that were overtaken are noted [AZ-19]', async () => {
      const id = await active();
      const suspend = await sandbox.act(id, 'suspend');
      await sandbox.act(id, 'reinstate');
      expect(await only(suspend)).toMatchObject({ kind: 'noted', truth: { state: 'active' } });
    });

    it('with a good token but without an operation are noted [AZ-08]', async () => {
      const id = await active();
      const body = { id: randomUUID(), subscriptionId: id, planId: 'premium', timeStamp: longAgo().toISOString() };
      const told = async (more: Record<string, unknown>): Promise<FulfillmentEvent> =>
        only(aged(await sandbox.deliver({ ...body, ...more })));
      expect(await told({ action: 'ChangePlan', status: 'InProgress', operationRequestSource: 'Partner' })).toMatchObject({
        kind: 'noted',
        doubt: expect.stringContaining('not decided'),
      });
      expect(await told({ action: 'Unsubscribe', status: 'Succeeded' })).toMatchObject({ kind: 'noted' });
      expect(await told({ subscriptionId: randomUUID(), action: 'Unsubscribe' })).toMatchObject({ kind: 'noted', truth: null });
      expect(await told({ subscriptionId: '../../x', action: 'Unsubscribe' })).toMatchObject({ kind: 'noted', truth: null });
      expect((await truthOf(id)).state).toBe('active');
    });

    it('that borrow an operation of another kind, plan or purchase are noted [AZ-08]', async () => {
      const [id, other] = [await active(), await active()];
      const { body } = await sandbox.act(id, 'change-plan', { planId: 'premium' });
      const borrowed = async (change: Record<string, unknown>): Promise<FulfillmentEvent> =>
        only(aged(await sandbox.deliver({ ...body, ...change, timeStamp: longAgo().toISOString() })));
      for (const change of [{ action: 'Unsubscribe' }, { planId: 'standard' }, { subscriptionId: other, action: 'Unsubscribe' }])
        expect(await borrowed(change), JSON.stringify(change)).toMatchObject({ kind: 'noted' });
      // What is answered for the wrong purchase is refused there, so that nothing comes of it.
      const astray = await borrowed({ subscriptionId: other });
      await expect(sandbox.adapter.answerChange(astray.truth!, astray.change!, { accept: true })).rejects.toBeInstanceOf(
        MarketplaceRefusal,
      );
      expect([astray.doubt, (await truthOf(other)).externalPlanId]).toEqual([expect.any(String), 'standard']);
      expect(await only(await sandbox.deliver(body))).toMatchObject({ kind: 'change_requested' });
    });

    it('of a change that can never be read are decided as told, and answered in words [AZ-94]', async () => {
      const id = await active();
      const captured = await sandbox.act(id, 'change-plan', { planId: 'premium' });
      await sandbox.fault('getOperation', 'status', { status: 404, times: 2 });
      const event = await only(aged(captured));
      expect(event).toMatchObject({
        kind: 'change_requested',
        change: { externalOperationId: captured.body['id'], kind: 'plan', toExternalPlanId: 'premium', requestedByUs: false },
        doubt: expect.stringContaining(String(captured.body['id'])),
      });
      await sandbox.adapter.answerChange(event.truth!, event.change!, { accept: true });
      expect((await truthOf(id)).externalPlanId).toBe('premium');
      // One that they really do not know: our word is refused there, which ends it.
      const invented = { ...event.change!, externalOperationId: randomUUID() };
      await expect(sandbox.adapter.answerChange(event.truth!, invented, { accept: true })).rejects.toBeInstanceOf(MarketplaceRefusal);
    });

    it('may be told before they can be read: their sender is asked to come again, and then decides nothing unheard [AZ-94]', async () => {
      const id = await active();
      const captured = await sandbox.act(id, 'change-plan', { planId: 'premium' });
      for (const status of [404, 400]) {
        await sandbox.fault('getOperation', 'status', { status });
        await expect(only(captured), String(status)).rejects.toBeInstanceOf(MarketplaceBusy);
      }
      expect(await only(captured)).toMatchObject({ kind: 'change_requested' });
      // A notice without a trackable operation may be early too.
      const early = await sandbox.deliver({ id: randomUUID(), subscriptionId: id, action: 'Suspend', timeStamp: soon().toISOString() });
      await expect(only(early)).rejects.toBeInstanceOf(MarketplaceBusy);
    });

    it('of a renewal wait for the term they tell of [AZ-17]', async () => {
      const id = await active();
      const term = { startDate: '2098-12-02T00:00:00Z', endDate: '2099-01-01T00:00:00Z' };
      const body = { id: randomUUID(), subscriptionId: id, action: 'Renew', subscription: { term } };
      await expect(only(await sandbox.deliver({ ...body, timeStamp: soon().toISOString() }))).rejects.toBeInstanceOf(MarketplaceBusy);
      const late = aged(await sandbox.deliver({ ...body, id: randomUUID(), timeStamp: longAgo().toISOString() }));
      expect(await only(late)).toMatchObject({ kind: 'renewed' });
    });

    it('of an end are proved by their operation when the purchase is shown no more [AZ-95]', async () => {
      const id = await active();
      const captured = await sandbox.act(id, 'unsubscribe');
      await sandbox.fault('get', 'status', { status: 404 });
      expect(await only(captured)).toMatchObject({ kind: 'ended', truth: null, deletedThere: true });
    });

    it('of the old, minimal kind are enough [AZ-05]', async () => {
      const id = await active();
      const captured = await sandbox.deliver({ subscriptionId: id, operationType: 'Reinstate' });
      expect(await sandbox.adapter.verifyInbound(captured.request)).toMatchObject({
        ok: true,
        naturalKey: expect.stringMatching(/^sha256:/),
      });
      expect(await only(captured)).toMatchObject({ kind: 'reinstated' });
    });
  });

  describe('changes', () => {
    it('are refused by the answer to the webhook [AZ-12]', async () => {
      const id = await active();
      sandbox.answer = (body) =>
        body['action'] === 'ChangePlan' ? sandbox.adapter.decisionAnswer({ accept: false, reason: 'too small' }) : { status: 200 };
      const captured = await sandbox.act(id, 'change-plan', { planId: 'premium' });
      await sandbox.until(async () => (await only(captured)).kind === 'change_dropped');
      expect((await truthOf(id)).externalPlanId).toBe('standard');
    });

    it('that go back to the plan in force are marked as such [AZ-14]', async () => {
      await sandbox.control('PUT', '/settings', { azure: { revertAfterRefusal: true } });
      const id = await active();
      sandbox.answer = (body) => ({ status: body['planId'] === 'premium' ? 400 : 200 });
      await sandbox.act(id, 'change-plan', { planId: 'premium' });
      const revert = await sandbox.webhook((c) => c.body['subscriptionId'] === id && c.body['planId'] === 'standard');
      expect(await only(revert)).toMatchObject({ kind: 'change_requested', change: { isRevert: true, toExternalPlanId: 'standard' } });
    });

    it('that silence accepted are taken back when we refuse after all [AZ-13]', async () => {
      const id = await active();
      const captured = await sandbox.act(id, 'change-plan', { planId: 'premium' });
      const { change, truth } = await only(captured);
      await sandbox.until(async () => {
        await sandbox.advance(11);
        return (await truthOf(id)).externalPlanId === 'premium';
      });
      expect((await only(captured)).kind).toBe('changed');
      await sandbox.adapter.answerChange(truth!, change!, { accept: false });
      const back = await sandbox.webhook((c) => c.body['subscriptionId'] === id && c.body['planId'] === 'standard');
      expect(await sandbox.adapter.verifyInbound(back.request)).toMatchObject({ ok: true, decisionWanted: false });
      const event = await only(back);
      expect(event.change).toMatchObject({ requestedByUs: true });
      await sandbox.adapter.answerChange(event.truth!, event.change!, { accept: true });
      expect((await truthOf(id)).externalPlanId).toBe('standard');
    });

    it('of our own that answer 500 are fine once they have succeeded [AZ-15]', async () => {
      await sandbox.control('PUT', '/settings', { azure: { quirks: 'observed' } });
      const id = await active();
      const first = await only(await sandbox.act(id, 'change-plan', { planId: 'premium' }));
      await sandbox.until(async () => {
        await sandbox.advance(11);
        return (await truthOf(id)).externalPlanId === 'premium';
      });
      await sandbox.adapter.answerChange(first.truth!, first.change!, { accept: false });
      const own = await sandbox.webhook((c) => c.body['subscriptionId'] === id && c.body['planId'] === 'standard');
      const event = await only(own);
      await expect(sandbox.adapter.answerChange(event.truth!, event.change!, { accept: true })).rejects.toBeInstanceOf(MarketplaceUnknown);
      await sandbox.until(async () => {
        await sandbox.advance(11);
        return (await truthOf(id)).externalPlanId === 'standard';
      });
      await sandbox.adapter.answerChange(event.truth!, event.change!, { accept: true });
    });

    it('that a newer one has won over are a refusal of our yes [AZ-16]', async () => {
      const id = await active({ offerId: 'seats', planId: 'team', quantity: 5 });
      const older = await only(await sandbox.act(id, 'change-quantity', { quantity: 6 }));
      const newer = await only(await sandbox.act(id, 'change-quantity', { quantity: 9 }));
      expect(newer.change).toMatchObject({ kind: 'quantity', toQuantity: 9 });
      await sandbox.adapter.answerChange(newer.truth!, newer.change!, { accept: true });
      await expect(sandbox.adapter.answerChange(older.truth!, older.change!, { accept: true })).rejects.toMatchObject({
        code: 'azure.change_superseded',
      });
      await sandbox.adapter.answerChange(older.truth!, older.change!, { accept: false });
      expect((await truthOf(id)).quantity).toBe(9);
    });
  });
});
