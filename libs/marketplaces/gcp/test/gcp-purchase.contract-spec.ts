import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MarketplaceRefusal, type PulledMessage } from '#marketplaces/core';
import { GcpSandbox, SERVICE } from './support/sandbox-process.js';

const yes = { accept: true };
const no = { accept: false, reason: 'ß'.repeat(300) };

describe('a purchase on Google Cloud', () => {
  let sandbox: GcpSandbox;
  beforeAll(async () => {
    sandbox = await GcpSandbox.start();
  });
  afterAll(() => sandbox?.stop());

  const active = async (extra: Record<string, unknown> = {}) => {
    const bought = await sandbox.buy(extra);
    await sandbox.adapter.acknowledge(await sandbox.truth(bought.entitlementId), { tenantId: randomUUID() });
    return bought;
  };

  it('is approved after its account, each at most once [GC-09]', async () => {
    const { entitlementId } = await sandbox.buy();
    const truth = await sandbox.truth(entitlementId);
    expect(truth).toMatchObject({ state: 'pending_fulfillment', externalOfferId: SERVICE, version: expect.stringMatching(/\.\d{6}Z$/) });
    expect(truth.refs).not.toHaveProperty('usageReportingId');
    await sandbox.adapter.acknowledge(truth, { tenantId: randomUUID() });
    expect((await sandbox.truth(entitlementId)).refs).toMatchObject({
      state: 'ENTITLEMENT_ACTIVE',
      usageReportingId: expect.stringMatching(/^project_number:/),
    });
  });

  it('whose buyer waits for an approval is listed until he is approved [GC-13]', async () => {
    const bought: { accountId: string; entitlementId: string }[] = [];
    for (let i = 0; i < 3; i += 1) bought.push(await sandbox.buy());
    const waiting = async (): Promise<string[]> => {
      const found: string[] = [];
      for await (const { buyerAccountId } of sandbox.adapter.listWaitingBuyers()) found.push(buyerAccountId);
      return found.filter((id) => bought.some((b) => b.accountId === id)).sort();
    };
    expect(await waiting()).toEqual(bought.map((b) => b.accountId).sort());
    await sandbox.adapter.acknowledge(await sandbox.truth(bought[1]!.entitlementId), { tenantId: randomUUID() });
    expect(await waiting()).toEqual([bought[0]!.accountId, bought[2]!.accountId].sort());
  });

  it('whose approval was done but not answered is known to be approved [GC-21]', async () => {
    for (const operation of ['approveAccount', 'approveEntitlement']) {
      const { entitlementId } = await sandbox.buy();
      await sandbox.fault(operation, 'drop_after');
      await sandbox.adapter.acknowledge(await sandbox.truth(entitlementId), { tenantId: randomUUID() });
      expect((await sandbox.truth(entitlementId)).state, operation).toBe('active');
    }
  });

  it('is told in messages that share an event id but not a key [GC-33]', async () => {
    const { entitlementId, accountId } = await sandbox.buy();
    const mine = (): PulledMessage[] =>
      sandbox.pulled.filter((m) => m.externalSubscriptionId === entitlementId || m.body.includes(accountId));
    await sandbox.until(() => mine().length >= 2);
    const [account, created] = [
      mine().find((m) => m.body.includes('ACCOUNT_ACTIVE'))!,
      mine().find((m) => m.body.includes('CREATION_REQUESTED'))!,
    ];
    const eventId = (m: PulledMessage): unknown => (JSON.parse(m.body) as { eventId: unknown }).eventId;
    expect(eventId(account)).toBe(eventId(created));
    expect(account.naturalKey).not.toBe(created.naturalKey);
    expect(await sandbox.adapter.normalise(sandbox.stored(created))).toMatchObject([
      { kind: 'purchased', truth: { state: 'pending_fulfillment' } },
    ]);
    expect(await sandbox.adapter.normalise(sandbox.stored(account))).toMatchObject([
      { kind: 'noted', externalSubscriptionId: entitlementId, truth: { buyerReady: false } },
    ]);
  });

  it('lands with the account and the user that the token names [GC-07, GC-14]', async () => {
    const { accountId, signUp, entitlementId } = await sandbox.buy();
    expect(await sandbox.adapter.resolveLanding(signUp.fields)).toMatchObject({
      ok: true,
      buyerAccountId: accountId,
      truth: { externalSubscriptionId: entitlementId },
      visitor: expect.stringMatching(/^\d+$/),
    });
  });

  it('does not land with a token that somebody else made', async () => {
    const { entitlementId } = await sandbox.buy();
    const codes: Record<string, string> = {};
    for (const forge of ['wrong_key', 'wrong_aud', 'expired', 'too_long', 'wrong_iss', 'alg_none']) {
      const { signUp } = await sandbox.control<{ signUp: { fields: Record<string, string> } }>('POST', '/gcp/sign-up-tokens', {
        entitlementId,
        forge,
      });
      const answer = await sandbox.adapter.resolveLanding(signUp.fields);
      codes[forge] = answer.ok ? 'ok' : answer.code;
    }
    expect(codes).toEqual({
      wrong_key: 'landing.token_invalid',
      wrong_aud: 'landing.not_for_us',
      expired: 'landing.token_expired',
      too_long: 'landing.token_invalid',
      wrong_iss: 'landing.token_invalid',
      alg_none: 'landing.token_invalid',
    });
  });

  it('is not there yet, or not reachable: the buyer may come again', async () => {
    const { accountId, entitlementId, signUp } = await sandbox.buy();
    await sandbox.fault('listEntitlements', 'status', { status: 500 });
    expect(await sandbox.adapter.resolveLanding(signUp.fields)).toMatchObject({ ok: false, code: 'landing.unavailable' });
    await sandbox.act(entitlementId, 'cancel-now');
    const later = await sandbox.control<{ signUp: { fields: Record<string, string> } }>('POST', '/gcp/sign-up-tokens', { accountId });
    expect(await sandbox.adapter.resolveLanding(later.signUp.fields)).toMatchObject({
      ok: false,
      code: 'landing.awaiting_order',
      signedUp: { buyerAccountId: accountId },
    });
  });

  it('may come after the sign-up: the buyer is approved at once, and the order then waits for nobody [GC-58]', async () => {
    const buyer = `Early Bird ${randomUUID()}`;
    const early = await sandbox.control<{ accountId: string; signUp: { fields: Record<string, string> } }>('POST', '/gcp/accounts', {
      buyer,
    });
    expect(await sandbox.adapter.resolveLanding(early.signUp.fields)).toMatchObject({
      ok: false,
      code: 'landing.awaiting_order',
      signedUp: { buyerAccountId: early.accountId },
    });
    await sandbox.fault('approveAccount', 'drop_after');
    await sandbox.adapter.approveBuyer(early.accountId);
    await sandbox.adapter.approveBuyer(early.accountId);
    const { entitlementId, accountId } = await sandbox.buy({ buyer });
    expect(accountId).toBe(early.accountId);
    expect(await sandbox.truth(entitlementId)).toMatchObject({ state: 'pending_fulfillment', buyerReady: true });
  });

  it('changes its plan only to the plan that waits [GC-23]', async () => {
    const { entitlementId } = await active();
    await sandbox.act(entitlementId, 'change-plan', { planId: 'premium' });
    const [event] = await sandbox.adapter.normalise((await sandbox.message(entitlementId, 'ENTITLEMENT_PLAN_CHANGE_REQUESTED')).stored);
    const wrong = { ...event!.change!, toExternalPlanId: 'other' };
    await expect(sandbox.adapter.answerChange(event!.truth!, wrong, yes)).rejects.toMatchObject({ code: 'gcp.change_superseded' });
    await sandbox.adapter.answerChange(event!.truth!, event!.change!, no);
    await expect(sandbox.adapter.answerChange(event!.truth!, event!.change!, yes)).rejects.toMatchObject({ code: 'gcp.change_dropped' });
    await sandbox.act(entitlementId, 'change-plan', { planId: 'premium' });
    await sandbox.fault('approvePlanChange', 'drop_after');
    await sandbox.adapter.answerChange(event!.truth!, event!.change!, yes);
    expect((await sandbox.truth(entitlementId)).externalPlanId).toBe('premium');
    await expect(sandbox.adapter.answerChange(event!.truth!, event!.change!, no)).rejects.toMatchObject({ code: 'gcp.change_in_force' });
    expect(await sandbox.adapter.normalise((await sandbox.message(entitlementId, 'ENTITLEMENT_PLAN_CHANGED')).stored)).toMatchObject([
      { kind: 'changed', truth: { externalPlanId: 'premium' } },
    ]);
  });

  it('that is cancelled at its term end has an end, until that is reverted [GC-25]', async () => {
    const { entitlementId } = await active();
    await sandbox.act(entitlementId, 'cancel');
    const { stored } = await sandbox.message(entitlementId, 'ENTITLEMENT_PENDING_CANCELLATION');
    const [pending] = await sandbox.adapter.normalise(stored);
    expect(pending).toMatchObject({ kind: 'end_scheduled', truth: { state: 'active' } });
    expect(pending!.effectiveAt!.getTime()).toBeGreaterThan(sandbox.clock.now().getTime());
    await sandbox.act(entitlementId, 'revert-cancel');
    expect(
      await sandbox.adapter.normalise((await sandbox.message(entitlementId, 'ENTITLEMENT_CANCELLATION_REVERTED')).stored),
    ).toMatchObject([{ kind: 'end_reverted', truth: { state: 'active', endsAt: null } }]);
    expect(await sandbox.adapter.normalise(stored), 'the old message is stale').toMatchObject([{ kind: 'noted' }]);
  });

  it.each([
    ['GET shows', true],
    ['only the message tells', false],
  ])('that begins later, as %s, is scheduled, and in force on the day [GC-26, GC-65]', async (_, showsNewOfferStart) => {
    await sandbox.control('PUT', '/settings', { gcp: { showsNewOfferStart } });
    const startsAt = new Date(sandbox.clock.now().getTime() + 2 * 86_400_000).toISOString();
    const { entitlementId } = await sandbox.buy({ autoApprove: true, startsAt });
    const [accepted] = await sandbox.adapter.normalise((await sandbox.message(entitlementId, 'ENTITLEMENT_OFFER_ACCEPTED')).stored);
    expect(accepted).toMatchObject({ kind: 'purchased', truth: { state: 'scheduled', term: { startsAt: new Date(startsAt) } } });
    const again = await sandbox.adapter.readTruth(entitlementId, accepted!.truth!.refs);
    expect(again, 'as it is read with what was told').toMatchObject({ state: 'scheduled', term: { startsAt: new Date(startsAt) } });
    if (!showsNewOfferStart) expect(await sandbox.truth(entitlementId)).toMatchObject({ state: 'pending_fulfillment' });
    await sandbox.control('PUT', '/settings', { gcp: { showsNewOfferStart: true } });
    await sandbox.advance(2 * 86_400 + 60);
    expect(await sandbox.truth(entitlementId)).toMatchObject({ state: 'active' });
    expect(await sandbox.adapter.normalise((await sandbox.message(entitlementId, 'ENTITLEMENT_ACTIVE')).stored)).toMatchObject([
      { kind: 'activated', truth: { state: 'active' } },
    ]);
  });

  it('that was approved for a later day is scheduled, and not approved again [GC-26]', async () => {
    const startsAt = new Date(sandbox.clock.now().getTime() + 2 * 86_400_000).toISOString();
    const { entitlementId } = await sandbox.buy({ startsAt });
    for (const time of ['first', 'again']) {
      await sandbox.adapter.acknowledge(await sandbox.truth(entitlementId), { tenantId: randomUUID() });
      expect(await sandbox.truth(entitlementId), time).toMatchObject({ state: 'scheduled', term: { startsAt: new Date(startsAt) } });
    }
  });

  it('that we refuse is over, with its buyer where that is said; one in force is not [GC-67]', async () => {
    const wish = { reason: 'We may not sell to this country. '.repeat(20), alsoBuyer: true };
    const { entitlementId, accountId } = await sandbox.buy();
    const waiting = await sandbox.truth(entitlementId);
    await sandbox.fault('rejectEntitlement', 'drop_after');
    await sandbox.adapter.rejectPurchase!(waiting, wish);
    expect(await sandbox.truth(entitlementId)).toMatchObject({ state: 'ended' });
    const view = await sandbox.control<{ account: { signUp: string } }>('GET', `/gcp/entitlements/${entitlementId}`);
    expect([view.account.signUp, accountId.length > 0]).toEqual(['REJECTED', true]);
    await sandbox.adapter.rejectPurchase!(waiting, wish);
    const { entitlementId: served } = await active();
    await expect(sandbox.adapter.rejectPurchase!(await sandbox.truth(served), wish)).rejects.toBeInstanceOf(MarketplaceRefusal);
  });

  it('shows its buyer a text while it waits for us, and none afterwards [GC-27]', async () => {
    const { entitlementId } = await sandbox.buy();
    const shown = async () =>
      (await sandbox.control<{ wire: { messageToUser?: string } }>('GET', `/gcp/entitlements/${entitlementId}`)).wire.messageToUser;
    await sandbox.fault('patchEntitlement', 'drop_after');
    await sandbox.adapter.tellBuyer(entitlementId, 'Your storage is being set up.');
    expect(await shown()).toBe('Your storage is being set up.');
    await sandbox.adapter.acknowledge(await sandbox.truth(entitlementId), { tenantId: randomUUID() });
    expect(await shown(), 'cleared by the change of state').toBeUndefined();
    await sandbox.adapter.tellBuyer(entitlementId, 'Too late.');
    expect(await shown()).toBeUndefined();
  });

  it('that was deleted reads as nothing [GC-20]', async () => {
    const { entitlementId } = await active();
    await sandbox.act(entitlementId, 'cancel-now');
    await expect(sandbox.adapter.acknowledge(await sandbox.truth(entitlementId), { tenantId: randomUUID() })).rejects.toBeInstanceOf(
      MarketplaceRefusal,
    );
    await sandbox.act(entitlementId, 'delete');
    expect(await sandbox.adapter.normalise((await sandbox.message(entitlementId, 'ENTITLEMENT_DELETED')).stored)).toMatchObject([
      { kind: 'data_deletion_due', truth: null },
    ]);
    expect(await sandbox.adapter.readTruth(entitlementId)).toBeNull();
  });
});
