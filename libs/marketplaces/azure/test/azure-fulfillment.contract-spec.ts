import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type FulfillmentEvent, MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, type SubscriptionTruth } from '#marketplaces/core';
import { createLogger } from '#platform';
import { AzureSandbox } from './support/sandbox-process.js';

describe('azure fulfillment against the sandbox', () => {
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
  const calls = async (operation: string): Promise<number> =>
    (await sandbox.control<{ items: unknown[] }>('GET', `/calls?marketplace=azure&operation=${operation}&limit=2000`)).items.length;

  it('tells the private offers of the plan that a buyer has, and of no other [AZ-83]', async () => {
    const { subscriptionId } = await sandbox.buy();
    expect(await sandbox.adapter.readPrivateOffers(subscriptionId, 'premium')).toEqual(['00000000-0000-4000-8000-0000000000d1']);
    expect(await sandbox.adapter.readPrivateOffers(subscriptionId, 'standard')).toEqual([]);
    expect(await sandbox.adapter.readPrivateOffers(randomUUID(), 'premium')).toEqual([]);
    expect(await sandbox.adapter.readPrivateOffers('not an id', 'premium')).toEqual([]);
  });

  it('comes again to a read whose answer is broken, or drips for longer than it may take [AZ-89]', async () => {
    const id = await active();
    for (const shape of ['truncated', 'html', 'empty', 'cut']) {
      await sandbox.fault('get', 'malformed_after', { shape });
      await expect(sandbox.adapter.readTruth(id), shape).rejects.toBeInstanceOf(MarketplaceBusy);
    }
    await sandbox.fault('get', 'slow_after', { delayMs: 100 });
    const hasty = sandbox.adapterWith({ timeoutsMs: { read: 500 } });
    const began = performance.now();
    await expect(hasty.readTruth(id)).rejects.toBeInstanceOf(MarketplaceBusy);
    // The whole answer would take a minute: it is given up by the clock, not by a pause between two bytes.
    expect(performance.now() - began).toBeLessThan(5_000);
    await sandbox.fault('activate', 'malformed_after', { shape: 'html' });
    const { subscriptionId } = await sandbox.buy();
    await sandbox.adapter.acknowledge(await truthOf(subscriptionId), { tenantId: 't' });
    expect((await truthOf(subscriptionId)).state).toBe('active');
  });

  it('follows the keys of Entra: announced, in use, withdrawn; and its own token with them [AZ-90]', async () => {
    const id = await active();
    const old = await sandbox.act(id, 'suspend');
    await sandbox.control('POST', '/azure/keys/announce');
    const early = sandbox.adapterWith({});
    expect(await early.verifyInbound(old.request)).toMatchObject({ ok: true });
    await sandbox.control('POST', '/azure/keys/switch');
    const fresh = await sandbox.act(id, 'reinstate');
    // Known before it signed: nothing is asked for again, and nothing genuine is ever refused.
    expect(await early.verifyInbound(fresh.request)).toMatchObject({ ok: true });
    expect(await sandbox.adapterWith({}).verifyInbound(old.request)).toMatchObject({ ok: true });
    await sandbox.control('POST', '/azure/keys/withdraw');
    expect(await sandbox.adapterWith({}).verifyInbound(old.request)).toMatchObject({ ok: false, code: 'azure.token_invalid' });
    // The token we had for the API was signed with the withdrawn key: a new one is asked for, once.
    expect((await truthOf(id)).state).toBe('active');
  });

  describe('activation', () => {
    it('is done when its answer was lost [AZ-22]', async () => {
      const { subscriptionId } = await sandbox.buy();
      await sandbox.fault('activate', 'drop_after');
      await sandbox.adapter.acknowledge(await truthOf(subscriptionId), { tenantId: 't' });
      expect((await truthOf(subscriptionId)).state).toBe('active');
    });

    it('is unknown after a 500 without effect, and busy when throttled', async () => {
      const { subscriptionId } = await sandbox.buy();
      const truth = await truthOf(subscriptionId);
      await sandbox.fault('activate', 'status');
      await expect(sandbox.adapter.acknowledge(truth, { tenantId: 't' })).rejects.toBeInstanceOf(MarketplaceUnknown);
      await sandbox.fault('activate', 'throttle', { retryAfter: 3 });
      await expect(sandbox.adapter.acknowledge(truth, { tenantId: 't' })).rejects.toMatchObject({ retryAfterMs: 3_000 });
      expect((await truthOf(subscriptionId)).state).toBe('pending_fulfillment');
    });

    it('is not asked for again once it is done [AZ-22]', async () => {
      const id = await active();
      const before = await calls('activate');
      await sandbox.adapter.acknowledge(await truthOf(id), { tenantId: 't' });
      expect(await calls('activate')).toBe(before);
    });

    it('carries the seats of a per-seat plan [AZ-23]', async () => {
      const id = await active({ offerId: 'seats', planId: 'team', quantity: 7 });
      expect(await truthOf(id)).toMatchObject({ state: 'active', quantity: 7 });
    });

    it('of an ended purchase is refused', async () => {
      const id = await active();
      const before = await truthOf(id);
      await sandbox.act(id, 'unsubscribe');
      await expect(sandbox.adapter.acknowledge(before, { tenantId: 't' })).rejects.toMatchObject({ code: 'azure.subscription_ended' });
    });
  });

  describe('credentials', () => {
    it('cost one token for any number of callers, and a withdrawn one is replaced [AZ-27]', async () => {
      const { subscriptionId } = await sandbox.buy();
      const adapter = sandbox.adapterWith({});
      const before = await calls('token');
      await Promise.all(Array.from({ length: 8 }, () => adapter.readTruth(subscriptionId)));
      expect((await calls('token')) - before).toBe(1);
      await sandbox.fault('get', 'status', { status: 401 });
      expect(await adapter.readTruth(subscriptionId)).not.toBeNull();
      expect((await calls('token')) - before).toBe(2);
    });

    it('that are wrong are a refusal, and the doctor says what to mend', async () => {
      const { subscriptionId } = await sandbox.buy();
      const wrong = sandbox.adapterWith({ clientSecret: 'not-the-secret' });
      await expect(wrong.readTruth(subscriptionId)).rejects.toMatchObject({ code: 'azure.unauthorised' });
      const checks = await wrong.doctor();
      expect(checks.find((c) => c.check === 'azure.token')).toMatchObject({
        result: 'fail',
        remedy: expect.stringContaining('AZURE_CLIENT_SECRET'),
      });
      expect(JSON.stringify(checks)).not.toContain('not-the-secret');
    });

    it('of an application that the offer does not name are a refusal', async () => {
      const { subscriptionId } = await sandbox.buy();
      const unbound = sandbox.adapterWith({ clientId: 'd3b6f104-75c8-4e2a-9f3b-2ca08d4e6b79', clientSecret: 'unbound-secret' });
      await expect(unbound.readTruth(subscriptionId)).rejects.toBeInstanceOf(MarketplaceRefusal);
      expect((await unbound.doctor()).find((c) => c.check === 'azure.api')).toMatchObject({
        result: 'fail',
        remedy: expect.stringContaining('Technical configuration'),
      });
    });

    it('leave nothing done while the authority does not answer', async () => {
      await sandbox.fault('token', 'drop_before');
      await expect(sandbox.adapterWith({}).readTruth(randomUUID())).rejects.toBeInstanceOf(MarketplaceBusy);
    });
  });

  it('logs each call, and no token or secret [AZ-43]', async () => {
    const lines: string[] = [];
    const logger = createLogger('azure', 'trace');
    for (const level of ['debug', 'info', 'warn', 'error'] as const)
      logger[level] = ((...given: unknown[]) => lines.push(JSON.stringify(given))) as never;
    const { token } = await sandbox.buy();
    const adapter = sandbox.adapterWith({}, logger);
    await adapter.resolveLanding({ token });
    await sandbox.fault('get', 'drop_before');
    await expect(adapter.readTruth(randomUUID())).rejects.toBeInstanceOf(MarketplaceBusy);
    expect(lines.map((l) => (JSON.parse(l) as [{ operation: string }])[0].operation)).toEqual(['resolve', 'getSubscription']);
    for (const secret of [token, 'right-secret', 'eyJ', 'Bearer']) expect(lines.join('\n')).not.toContain(secret);
  });

  it('lists all pages [AZ-31]', async () => {
    const bought = new Set<string>();
    for (let i = 0; i < 7; i += 1) bought.add((await sandbox.buy()).subscriptionId);
    for await (const truth of sandbox.adapter.listAll()) bought.delete(truth.externalSubscriptionId);
    expect([...bought]).toEqual([]);
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

  it('does not resolve a token that was decoded twice, nor one of yesterday [AZ-20]', async () => {
    const { token } = await sandbox.buy();
    expect(token).toContain('+');
    expect(await sandbox.adapter.resolveLanding({ token: token.replaceAll('+', ' ') })).toMatchObject({
      ok: false,
      code: 'landing.token_invalid',
    });
    await sandbox.fault('resolve', 'status');
    expect(await sandbox.adapter.resolveLanding({ token })).toMatchObject({ ok: false, code: 'landing.unavailable' });
    expect(await sandbox.adapter.resolveLanding({ token })).toMatchObject({
      ok: true,
      truth: { state: 'pending_fulfillment', purchaser: { email: expect.any(String) } },
    });
    await sandbox.advance(25 * 3600);
    expect(await sandbox.adapter.resolveLanding({ token })).toMatchObject({ ok: false, code: 'landing.token_expired' });
  });
});
