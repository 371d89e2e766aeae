import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GcpWire, startGcp } from './support/gcp-harness.js';
import { DAY } from './support/harness.js';

let gcp: GcpWire & { stop(): Promise<void> };
beforeAll(async () => {
  gcp = await startGcp();
});
afterAll(() => gcp.stop());

const typesOf = async (id: string): Promise<string[]> => (await gcp.messages(id)).map((one) => one.eventType as string);
const bodyOf = async (id: string, type: string): Promise<any> => (await gcp.messages(id)).findLast((one) => one.eventType === type).body;
const view = async (id: string): Promise<any> => (await gcp.control(`/entitlements/${id}`)).json;
const later = async (days: number): Promise<string> => new Date((await gcp.running.now()) + days * DAY).toISOString();

describe('private offers (contract gcp §5)', () => {
  it('are an entitlement under privateOffers/ that is asked for as any other; the price stays at Google (§5)', async () => {
    const bought = await gcp.active({ privateOffer: { price: '19.50', durationMonths: 18 } });
    const wire = await gcp.get(bought.entitlementId);
    expect(wire).toMatchObject({ state: 'ENTITLEMENT_ACTIVE', plan: 'standard', offerDuration: 'P1Y6M' });
    expect(wire.offer).toMatch(/^projects\/\d+\/services\/[^/]+\/privateOffers\/[^/]+$/);
    expect(JSON.stringify(wire)).not.toContain('19.5');
    expect((await view(bought.entitlementId)).price).toEqual({ amount: '19.50', of: 'private_offer' });
    const asked = await bodyOf(bought.entitlementId, 'ENTITLEMENT_CREATION_REQUESTED');
    expect(asked.entitlement).toMatchObject({ newPendingOfferDuration: 'P1Y6M', newOfferEndTime: '' });
    const standard = await gcp.active();
    expect((await gcp.get(standard.entitlementId)).offer).toContain('/standardOffers/');
    expect((await view(standard.entitlementId)).price).toEqual({ amount: '25', of: 'list' });
  });

  it('have a duration or a fixed end; the end is shown before an approval only where it is fixed (§2, table; §3)', async () => {
    const endsAt = await later(40);
    const fixed = await gcp.buy({ privateOffer: { endsAt } });
    expect(await gcp.get(fixed.entitlementId)).toMatchObject({ state: 'ENTITLEMENT_ACTIVATION_REQUESTED', offerEndTime: endsAt });
    expect(await gcp.get(fixed.entitlementId)).not.toHaveProperty('offerDuration');
    const asked = await bodyOf(fixed.entitlementId, 'ENTITLEMENT_CREATION_REQUESTED');
    expect(asked.entitlement).toMatchObject({ newPendingOfferDuration: '', newOfferEndTime: endsAt });
    const lasting = await gcp.buy({ privateOffer: { durationMonths: 12 } });
    expect(await gcp.get(lasting.entitlementId)).not.toHaveProperty('offerEndTime');
    expect((await gcp.control('/purchases', { planId: 'standard', privateOffer: { endsAt, durationMonths: 2 } })).status).toBe(400);
    const past = await gcp.control('/purchases', { planId: 'standard', privateOffer: { endsAt: '2020-01-01T00:00:00Z' } });
    expect([past.status, past.json.code]).toEqual([400, 'offer.ends']);
  });

  it('end with OFFER_ENDED, and the entitlement stays active at list price with its end in the past (§2, §3, §5)', async () => {
    const bought = await gcp.active({ privateOffer: { price: '19.50', durationMonths: 1 } });
    const { offer, offerEndTime } = await gcp.get(bought.entitlementId);
    await gcp.running.advance(32 * 86_400);
    expect((await typesOf(bought.entitlementId)).slice(-2)).toEqual(['ENTITLEMENT_ACTIVE', 'ENTITLEMENT_OFFER_ENDED']);
    expect(await gcp.get(bought.entitlementId)).toMatchObject({ state: 'ENTITLEMENT_ACTIVE', offer, offerEndTime });
    expect((await view(bought.entitlementId)).price).toEqual({ amount: '25', of: 'list' });
    await gcp.running.advance(32 * 86_400);
    expect((await typesOf(bought.entitlementId)).filter((type) => /OFFER_ENDED|RENEWED|CANCELLED/.test(type))).toHaveLength(1);
    await gcp.act(bought.entitlementId, 'cancel');
    expect(await gcp.get(bought.entitlementId), 'there is no term to wait for').toMatchObject({ state: 'ENTITLEMENT_CANCELLED' });
  });

  it('or a CANCELLED follows OFFER_ENDED, or they renew and nothing is said of an end (§3, table)', async () => {
    const ending = await gcp.active({ privateOffer: { durationMonths: 1, afterEnd: 'cancel' } });
    const renewing = await gcp.active({ privateOffer: { price: '7', durationMonths: 1, afterEnd: 'renew' } });
    const before = (await gcp.get(renewing.entitlementId)).offerEndTime as string;
    await gcp.running.advance(32 * 86_400);
    expect((await typesOf(ending.entitlementId)).slice(-2)).toEqual(['ENTITLEMENT_OFFER_ENDED', 'ENTITLEMENT_CANCELLED']);
    expect(await gcp.get(ending.entitlementId)).toMatchObject({ state: 'ENTITLEMENT_CANCELLED', cancellationReason: 'expired' });
    expect((await typesOf(renewing.entitlementId)).at(-1)).toBe('ENTITLEMENT_RENEWED');
    expect((await gcp.get(renewing.entitlementId)).offerEndTime > before).toBe(true);
    expect((await view(renewing.entitlementId)).price).toEqual({ amount: '7', of: 'private_offer' });
  });

  it('can be ended by hand while one is in force', async () => {
    const bought = await gcp.active({ privateOffer: { price: '5' } });
    expect((await gcp.act(bought.entitlementId, 'end-offer')).status).toBe(202);
    expect((await typesOf(bought.entitlementId)).at(-1)).toBe('ENTITLEMENT_OFFER_ENDED');
    const again = await gcp.act(bought.entitlementId, 'end-offer');
    expect([again.status, again.json.code]).toEqual([409, 'offer.none']);
  });
});

describe('a replacement offer (contract gcp §5)', () => {
  it('is a plan change that may keep the plan; the pending offer is shown, and is in force once approved (§2, table; §5)', async () => {
    const { entitlementId } = await gcp.active({ privateOffer: { price: '19.50', durationMonths: 1 } });
    const { offer } = await gcp.get(entitlementId);
    expect((await gcp.act(entitlementId, 'replace-offer', { price: '17', durationMonths: 24 })).status).toBe(202);
    const asked = await gcp.get(entitlementId);
    expect(asked).toMatchObject({
      state: 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL',
      offer,
      plan: 'standard',
      newPendingPlan: 'standard',
      newPendingOffer: expect.stringContaining('/privateOffers/'),
      newPendingOfferDuration: 'P2Y',
    });
    expect(asked).not.toHaveProperty('newOfferStartTime');
    expect((await bodyOf(entitlementId, 'ENTITLEMENT_PLAN_CHANGE_REQUESTED')).entitlement).toMatchObject({
      newPlan: 'standard',
      newPendingOfferDuration: 'P2Y',
    });
    const found = await gcp.api(`/entitlements?filter=${encodeURIComponent(`new_pending_offer="${asked.newPendingOffer}"`)}`);
    expect(found.json.entitlements).toHaveLength(1);
    await gcp.api(`/entitlements/${entitlementId}:approvePlanChange`, { pendingPlanName: 'standard' });
    const changed = await gcp.get(entitlementId);
    expect(changed).toMatchObject({ state: 'ENTITLEMENT_ACTIVE', offer: asked.newPendingOffer, offerDuration: 'P2Y' });
    expect(changed).not.toHaveProperty('newPendingOffer');
    expect((await view(entitlementId)).price.amount).toBe('17');
    expect((await typesOf(entitlementId)).at(-1)).toBe('ENTITLEMENT_PLAN_CHANGED');
  });

  it('keeps the old offer when it is refused (§2, states)', async () => {
    const { entitlementId } = await gcp.active({ privateOffer: { price: '19.50' } });
    const { offer } = await gcp.get(entitlementId);
    await gcp.act(entitlementId, 'replace-offer', { price: '30', planId: 'premium' });
    await gcp.api(`/entitlements/${entitlementId}:rejectPlanChange`, { pendingPlanName: 'premium', reason: 'no' });
    expect(await gcp.get(entitlementId)).toMatchObject({ state: 'ENTITLEMENT_ACTIVE', offer, plan: 'standard' });
    expect((await view(entitlementId)).price.amount).toBe('19.50');
  });

  it('that starts later waits as PENDING_PLAN_CHANGE with its start shown, and takes force on the day (§2, table)', async () => {
    const { entitlementId } = await gcp.active({ privateOffer: { price: '19.50', durationMonths: 12 } });
    const startsAt = await later(3);
    await gcp.act(entitlementId, 'replace-offer', { price: '17', startsAt, planId: 'premium' });
    await gcp.api(`/entitlements/${entitlementId}:approvePlanChange`, { pendingPlanName: 'premium' });
    expect(await gcp.get(entitlementId)).toMatchObject({
      state: 'ENTITLEMENT_PENDING_PLAN_CHANGE',
      plan: 'standard',
      newOfferStartTime: startsAt,
    });
    await gcp.running.advance(3 * 86_400 + 60);
    expect(await gcp.get(entitlementId)).toMatchObject({ state: 'ENTITLEMENT_ACTIVE', plan: 'premium' });
  });

  it('may come after the offer in force is over, whose end then lies in the past (§2, table)', async () => {
    const { entitlementId } = await gcp.active({ privateOffer: { durationMonths: 1 } });
    await gcp.running.advance(32 * 86_400);
    await gcp.act(entitlementId, 'replace-offer', { price: '17' });
    const asked = await gcp.get(entitlementId);
    expect(asked.state).toBe('ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL');
    expect(Date.parse(asked.offerEndTime)).toBeLessThan(await gcp.running.now());
    await gcp.api(`/entitlements/${entitlementId}:approvePlanChange`, { pendingPlanName: 'standard' });
    expect(Date.parse((await gcp.get(entitlementId)).offerEndTime)).toBeGreaterThan(await gcp.running.now());
  });

  it('of a product that approves by itself is told as OFFER_ACCEPTED, never requested (§3, caution)', async () => {
    const { entitlementId } = await gcp.active();
    const startsAt = await later(2);
    await gcp.act(entitlementId, 'replace-offer', { price: '9', startsAt, autoApprove: true });
    expect(await typesOf(entitlementId)).not.toContain('ENTITLEMENT_PLAN_CHANGE_REQUESTED');
    expect((await bodyOf(entitlementId, 'ENTITLEMENT_OFFER_ACCEPTED')).entitlement.newOfferStartTime).toBe(startsAt);
    expect((await gcp.get(entitlementId)).state).toBe('ENTITLEMENT_PENDING_PLAN_CHANGE');
  });

  it('and a first purchase may be approved or refused by a person in the portal, without a call of ours (§5)', async () => {
    const bought = await gcp.buy({ privateOffer: { price: '9' } });
    expect((await gcp.act(bought.entitlementId, 'portal')).status).toBe(202);
    expect((await gcp.get(bought.entitlementId)).state).toBe('ENTITLEMENT_ACTIVE');
    await gcp.act(bought.entitlementId, 'replace-offer', { price: '8' });
    await gcp.act(bought.entitlementId, 'portal', { decision: 'reject' });
    expect((await view(bought.entitlementId)).price.amount).toBe('9');
    expect((await gcp.act(bought.entitlementId, 'portal')).status).toBe(409);
  });
});

describe('resellers and the older words (contract gcp §2, §3, §5)', () => {
  it('shows the reseller of an account in the full view only (§2, table; §5, Resale)', async () => {
    const reseller = 'billingAccounts/0A1B2C-3D4E5F-607182';
    const { accountId, entitlementId } = await gcp.buy({ buyer: 'Bought through a desk', reseller });
    const plain = (await gcp.api(`/accounts/${accountId}`)).json;
    const basic = (await gcp.api(`/accounts/${accountId}?view=ACCOUNT_VIEW_BASIC`)).json;
    expect([plain.resellerParentBillingAccount, basic.resellerParentBillingAccount]).toEqual([undefined, undefined]);
    expect((await gcp.api(`/accounts/${accountId}?view=ACCOUNT_VIEW_FULL`)).json.resellerParentBillingAccount).toBe(reseller);
    const rows = (await gcp.api('/accounts?view=ACCOUNT_VIEW_FULL&pageSize=200')).json.accounts as any[];
    expect(rows.find((one) => one.name.endsWith(accountId)).resellerParentBillingAccount).toBe(reseller);
    expect((await gcp.api(`/accounts/${accountId}?view=EVERYTHING`)).status).toBe(400);
    expect(JSON.stringify(await gcp.get(entitlementId)), 'an entitlement tells nothing of it').not.toContain('0A1B2C');
    const listed = await gcp.buy({ buyer: 'Eelgrass Labs (bought through a reseller)' });
    const named = (await gcp.api(`/accounts/${listed.accountId}?view=ACCOUNT_VIEW_FULL`)).json;
    expect(named.resellerParentBillingAccount).toBe(reseller);
  });

  it('plays the deprecated ACCOUNT_CREATION_REQUESTED only when told (§3, table)', async () => {
    const plain = await gcp.buy();
    await gcp.settings({ sendAccountCreation: true });
    const older = await gcp.buy();
    await gcp.settings({ sendAccountCreation: false });
    expect(await typesOf(plain.entitlementId)).not.toContain('ACCOUNT_CREATION_REQUESTED');
    expect((await typesOf(older.entitlementId)).slice(0, 2)).toEqual(['ACCOUNT_CREATION_REQUESTED', 'ACCOUNT_ACTIVE']);
  });

  it('names the duration of an offer in the current or in the former word (§3, "Field renamed in docs")', async () => {
    const current = await bodyOf((await gcp.buy()).entitlementId, 'ENTITLEMENT_CREATION_REQUESTED');
    await gcp.settings({ offerDurationField: 'newOfferDuration' });
    const former = await bodyOf((await gcp.buy()).entitlementId, 'ENTITLEMENT_CREATION_REQUESTED');
    await gcp.settings({ offerDurationField: 'newPendingOfferDuration' });
    expect([current.entitlement.newPendingOfferDuration, current.entitlement.newOfferDuration]).toEqual(['P1M', undefined]);
    expect([former.entitlement.newPendingOfferDuration, former.entitlement.newOfferDuration]).toEqual([undefined, 'P1M']);
  });
});
