import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, type SubscriptionTruth } from '#marketplaces/core';
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
