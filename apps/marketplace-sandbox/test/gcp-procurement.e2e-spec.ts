import { createLocalJWKSet, decodeProtectedHeader, importX509, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GcpWire, PROVIDER, startGcp } from './support/gcp-harness.js';
import { call, HOUR } from './support/harness.js';

const SIGNER = 'cloud-commerce-partner@system.gserviceaccount.com';
const ISSUER = `https://www.googleapis.com/robot/v1/metadata/x509/${SIGNER}`;

let gcp: GcpWire & { stop(): Promise<void> };
beforeAll(async () => {
  gcp = await startGcp();
});
afterAll(() => gcp.stop());

const keys = (form: string): ReturnType<typeof call> => call(`${gcp.running.url}/gcp/robot/v1/metadata/${form}/${SIGNER}`);

describe('the sign-up token (contract gcp §1)', () => {
  it('is an RS256 form field whose certificate and JWK both verify it, for five minutes of real time (§1)', async () => {
    const bought = await gcp.buy();
    const token = bought.signUp.fields['x-gcp-marketplace-token'] ?? '';
    const header = decodeProtectedHeader(token);
    expect([bought.signUp.method, Object.keys(bought.signUp.fields)]).toEqual(['POST', ['x-gcp-marketplace-token']]);
    expect(header).toEqual({ alg: 'RS256', kid: expect.any(String) });
    const x509 = await keys('x509');
    expect(x509.headers.get('cache-control')).toContain('max-age=');
    const checks = { issuer: ISSUER, audience: 'harbor-storage.example' };
    const { payload } = await jwtVerify(token, await importX509(x509.json[header.kid ?? ''], 'RS256'), checks);
    await jwtVerify(token, createLocalJWKSet((await keys('jwk')).json), checks);
    expect(payload.sub).toBe(bought.accountId);
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(300);
    expect(payload['google']).toEqual({
      roles: expect.any(Array),
      user_identity: expect.stringMatching(/^\d+$/),
      orders: [bought.orderId],
    });
    expect(Math.abs((payload.iat ?? 0) - Date.now() / 1000)).toBeLessThan(5);
  });

  it('tells orders in the other places and shapes that have been seen (§1, orders)', async () => {
    const { entitlementId, orderId } = await gcp.buy();
    await gcp.settings({ ordersAt: 'top', ordersAs: 'objects' });
    const answer = await gcp.act(entitlementId, 'sign-up');
    await gcp.settings({ ordersAt: 'google', ordersAs: 'strings' });
    const payload = JSON.parse(Buffer.from(answer.json.signUp.fields['x-gcp-marketplace-token'].split('.')[1], 'base64url').toString());
    expect([answer.status, payload.orders, payload.google.orders]).toEqual([201, [{ orderId }], undefined]);
  });

  it('can be forged in each way that a landing must refuse (§1, checks)', async () => {
    const { entitlementId } = await gcp.buy();
    const set = createLocalJWKSet((await keys('jwk')).json);
    const fate = async (forge: string): Promise<string> => {
      const answer = await gcp.control('/sign-up-tokens', { entitlementId, forge });
      const token = answer.json.signUp.fields['x-gcp-marketplace-token'] as string;
      try {
        const { payload } = await jwtVerify(token, set, { issuer: ISSUER, audience: 'harbor-storage.example', algorithms: ['RS256'] });
        return (payload.exp ?? 0) - (payload.iat ?? 0) > 300 ? 'too long' : 'good';
      } catch (error) {
        return (error as { code: string; claim?: string }).claim ?? (error as { code: string }).code;
      }
    };
    const fates = await Promise.all(['none', 'wrong_key', 'wrong_aud', 'expired', 'too_long', 'wrong_iss', 'alg_none'].map(fate));
    expect(fates).toEqual(['good', 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED', 'aud', 'exp', 'too long', 'iss', 'ERR_JOSE_ALG_NOT_ALLOWED']);
  });

  it('is signed by a new key after a rotation, and the old one stays published (§1, unknown kid)', async () => {
    const before = Object.keys((await keys('x509')).json);
    const { kid } = (await gcp.control('/keys/rotate', {})).json;
    expect(before).not.toContain(kid);
    expect(Object.keys((await keys('x509')).json)).toEqual(expect.arrayContaining([kid, before.at(-1)]));
    const token = (await gcp.buy()).signUp.fields['x-gcp-marketplace-token'] ?? '';
    expect(decodeProtectedHeader(token).kid).toBe(kid);
  });
});

describe('the Procurement API (contract gcp §2)', () => {
  it('refuses an entitlement before its account has signed up, and a second approval (§2, Errors; §7.1)', async () => {
    const { entitlementId, accountId } = await gcp.buy();
    const refused = { code: 400, message: 'Precondition check failed.', status: 'FAILED_PRECONDITION' };
    const early = await gcp.api(`/entitlements/${entitlementId}:approve`, {});
    expect([early.status, early.json.error]).toEqual([400, refused]);
    const account = await gcp.api(`/accounts/${accountId}`);
    expect(account.json).toMatchObject({
      name: `providers/${PROVIDER}/accounts/${accountId}`,
      state: 'ACCOUNT_ACTIVE',
      approvals: [{ name: 'signup', state: 'PENDING' }],
    });
    expect(
      (await gcp.api(`/accounts/${accountId}:approve`, { approvalName: 'signup', reason: 'signed up', properties: { tenantId: 't-1' } }))
        .json,
    ).toEqual({});
    expect((await gcp.api(`/entitlements/${entitlementId}:approve`, {})).json).toEqual({});
    const again = await gcp.api(`/entitlements/${entitlementId}:approve`, {});
    expect([again.status, again.json.error]).toEqual([400, refused]);
    expect((await gcp.api(`/accounts/${accountId}:approve`, { approvalName: 'signup' })).status).toBe(400);
  });

  it('leaves unset fields out and shows usageReportingId only once active (§2)', async () => {
    const { entitlementId, accountId } = await gcp.buy();
    const asked = await gcp.get(entitlementId);
    expect(asked).toMatchObject({
      state: 'ENTITLEMENT_ACTIVATION_REQUESTED',
      plan: 'standard',
      account: `providers/${PROVIDER}/accounts/${accountId}`,
      orderId: entitlementId,
    });
    for (const name of ['usageReportingId', 'newPendingPlan', 'messageToUser', 'cancellationReason', 'offerEndTime'])
      expect(asked).not.toHaveProperty(name);
    await gcp.api(`/accounts/${accountId}:approve`, { approvalName: 'signup' });
    await gcp.api(`/entitlements/${entitlementId}:approve`, {});
    const active = await gcp.get(entitlementId);
    expect(active.usageReportingId).toMatch(/^project_number:\d+$/);
    expect(active.updateTime).toMatch(/T\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(active.updateTime > asked.updateTime).toBe(true);
  });

  it('can be late with usageReportingId on an active entitlement (§2; §6)', async () => {
    await gcp.settings({ lateUsageReportingIdSeconds: 600 });
    const { entitlementId, consumerId } = await gcp.active();
    await gcp.settings({ lateUsageReportingIdSeconds: 0 });
    expect([consumerId, (await gcp.get(entitlementId)).state]).toEqual([undefined, 'ENTITLEMENT_ACTIVE']);
    await gcp.running.advance(601);
    expect((await gcp.get(entitlementId)).usageReportingId).toMatch(/^project_number:/);
  });

  it('filters by quoted account, short state and plan, and pages (§2, Filter)', async () => {
    const first = await gcp.active({ buyer: 'Filter buyer' });
    const second = await gcp.buy({ buyer: 'Filter buyer', planId: 'premium' });
    expect(second.accountId).toBe(first.accountId);
    const ids = async (filter: string, more = ''): Promise<string[]> => {
      const answer = await gcp.api(`/entitlements?filter=${encodeURIComponent(filter)}${more}`);
      return (answer.json.entitlements ?? []).map((one: { orderId: string }) => one.orderId);
    };
    const account = `account="${first.accountId}"`;
    expect(await ids(account)).toEqual([first.entitlementId, second.entitlementId]);
    expect(await ids(`account="providers/${PROVIDER}/accounts/${first.accountId}" state=active`)).toEqual([first.entitlementId]);
    expect(await ids(`${account} AND state=ENTITLEMENT_ACTIVATION_REQUESTED`)).toEqual([second.entitlementId]);
    expect(await ids(`${account} AND NOT plan=premium`)).toEqual([first.entitlementId]);
    expect(await ids(`${account} (plan=premium OR plan=standard) state=active`)).toEqual([first.entitlementId]);
    const page = await gcp.api(`/entitlements?filter=${encodeURIComponent(account)}&pageSize=1`);
    expect(page.json.entitlements).toHaveLength(1);
    expect(await ids(account, `&pageSize=1&pageToken=${page.json.nextPageToken}`)).toEqual([second.entitlementId]);
    const bare = await gcp.api(`/entitlements?filter=${encodeURIComponent(`account=${first.accountId}`)}`);
    const unknown = await gcp.api('/entitlements?filter=colour%3Dred');
    expect([bare.status, unknown.status, unknown.json.error.status]).toEqual([400, 400, 'INVALID_ARGUMENT']);
  });

  it('changes a plan only under the name that is pending; a refusal keeps the old plan (§2, States)', async () => {
    const { entitlementId } = await gcp.active();
    await gcp.act(entitlementId, 'change-plan', { planId: 'premium' });
    expect(await gcp.get(entitlementId)).toMatchObject({
      state: 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL',
      plan: 'standard',
      newPendingPlan: 'premium',
    });
    expect((await gcp.api(`/entitlements/${entitlementId}:approvePlanChange`, { pendingPlanName: 'standard' })).status).toBe(400);
    expect((await gcp.api(`/entitlements/${entitlementId}:rejectPlanChange`, { pendingPlanName: 'premium', reason: 'no' })).json).toEqual(
      {},
    );
    expect(await gcp.get(entitlementId)).toMatchObject({ state: 'ENTITLEMENT_ACTIVE', plan: 'standard' });
    await gcp.act(entitlementId, 'change-plan', { planId: 'premium' });
    expect((await gcp.api(`/entitlements/${entitlementId}:approvePlanChange`, { pendingPlanName: 'premium' })).json).toEqual({});
    expect(await gcp.get(entitlementId)).toMatchObject({ state: 'ENTITLEMENT_ACTIVE', plan: 'premium' });
    const types = (await gcp.messages(entitlementId)).map((one) => one.eventType);
    expect(types.slice(-4)).toEqual([
      'ENTITLEMENT_PLAN_CHANGE_REQUESTED',
      'ENTITLEMENT_PLAN_CHANGE_CANCELLED',
      'ENTITLEMENT_PLAN_CHANGE_REQUESTED',
      'ENTITLEMENT_PLAN_CHANGED',
    ]);
  });

  it('takes messageToUser only while we are asked, and knows neither suspension nor other masks (§2)', async () => {
    const { entitlementId, accountId } = await gcp.buy();
    const path = `/entitlements/${entitlementId}`;
    expect((await gcp.patch(`${path}?updateMask=messageToUser`, { messageToUser: 'Sign up first' })).json.messageToUser).toBe(
      'Sign up first',
    );
    expect((await gcp.patch(`${path}?updateMask=plan`, { plan: 'premium' })).status).toBe(400);
    expect((await gcp.api(`${path}:suspend`, { reason: 'x' })).json.error.status).toBe('UNIMPLEMENTED');
    await gcp.api(`/accounts/${accountId}:approve`, { approvalName: 'signup' });
    await gcp.api(`${path}:approve`, {});
    expect((await gcp.get(entitlementId)).messageToUser).toBeUndefined();
    expect((await gcp.patch(`${path}?updateMask=messageToUser`, { messageToUser: 'late' })).status).toBe(400);
  });

  it('takes an approval of a rejected account later, and entitlementMigrated as text only (§2)', async () => {
    const { entitlementId, accountId } = await gcp.buy();
    expect((await gcp.api(`/accounts/${accountId}:approve`, { approvalName: 'other' })).status).toBe(400);
    expect((await gcp.api(`/accounts/${accountId}:reject`, { approvalName: 'signup', reason: 'no' })).status).toBe(200);
    expect((await gcp.api(`/accounts/${accountId}:approve`, { approvalName: 'signup' })).status).toBe(200);
    expect((await gcp.api(`/entitlements/${entitlementId}:approve`, { entitlementMigrated: true })).status).toBe(400);
  });

  it('answers 404 after deletion, 60 days after a cancellation (§2, §3)', async () => {
    const { entitlementId } = await gcp.active();
    await gcp.act(entitlementId, 'cancel-now');
    expect(await gcp.get(entitlementId)).toMatchObject({ state: 'ENTITLEMENT_CANCELLED', cancellationReason: 'user-cancelled' });
    await gcp.running.advance(61 * 24 * 3600);
    const gone = await gcp.api(`/entitlements/${entitlementId}`);
    expect([gone.status, gone.json.error.status]).toEqual([404, 'NOT_FOUND']);
    expect((await gcp.messages(entitlementId)).at(-1).eventType).toBe('ENTITLEMENT_DELETED');
  });

  it('renews an active term, and ends one that was cancelled in it (§2, States)', async () => {
    const kept = await gcp.active();
    const left = await gcp.active();
    await gcp.act(left.entitlementId, 'cancel');
    expect((await gcp.get(left.entitlementId)).state).toBe('ENTITLEMENT_PENDING_CANCELLATION');
    const end = Date.parse((await gcp.get(kept.entitlementId)).offerEndTime);
    await gcp.running.advance((end - (await gcp.running.now()) + HOUR) / 1000);
    expect(Date.parse((await gcp.get(kept.entitlementId)).offerEndTime)).toBeGreaterThan(end);
    expect((await gcp.get(left.entitlementId)).state).toBe('ENTITLEMENT_CANCELLED');
  });

  it('shows a later start only after the approval, and is in force on the day (§2, table of states)', async () => {
    const startsAt = new Date((await gcp.running.now()) + 2 * 86_400_000).toISOString();
    const bought = await gcp.buy({ startsAt });
    expect(await gcp.get(bought.entitlementId)).not.toHaveProperty('newOfferStartTime');
    await gcp.api(`/accounts/${bought.accountId}:approve`, { approvalName: 'signup' });
    expect((await gcp.api(`/entitlements/${bought.entitlementId}:approve`, {})).status).toBe(200);
    expect(await gcp.get(bought.entitlementId)).toMatchObject({ state: 'ENTITLEMENT_ACTIVATION_REQUESTED', newOfferStartTime: startsAt });
    expect((await gcp.api(`/entitlements/${bought.entitlementId}:approve`, {})).status, 'a second approval').toBe(400);
    expect((await gcp.messages(bought.entitlementId)).map((one) => one.eventType)).not.toContain('ENTITLEMENT_ACTIVE');
    await gcp.running.advance(2 * 86_400 + 60);
    const active = await gcp.get(bought.entitlementId);
    expect(active).toMatchObject({ state: 'ENTITLEMENT_ACTIVE', usageReportingId: expect.any(String) });
    expect(active).not.toHaveProperty('newOfferStartTime');
    expect((await gcp.messages(bought.entitlementId)).map((one) => one.eventType)).toContain('ENTITLEMENT_ACTIVE');
  });

  it('announces an offer that is approved by itself as accepted, never as requested (§3, caution; §5)', async () => {
    const startsAt = new Date((await gcp.running.now()) + 86_400_000).toISOString();
    const later = await gcp.buy({ autoApprove: true, startsAt });
    const types = (await gcp.messages(later.entitlementId)).map((one) => one.eventType);
    expect(types).toEqual(['ACCOUNT_ACTIVE', 'ENTITLEMENT_OFFER_ACCEPTED']);
    const accepted = (await gcp.messages(later.entitlementId)).find((one) => one.eventType === 'ENTITLEMENT_OFFER_ACCEPTED');
    expect(accepted.body.entitlement).toMatchObject({ newOfferStartTime: startsAt, newPendingOfferDuration: 'P1M', newOfferEndTime: '' });
    expect(await gcp.get(later.entitlementId)).toMatchObject({
      state: 'ENTITLEMENT_ACTIVATION_REQUESTED',
      newOfferStartTime: startsAt,
      offer: expect.stringContaining('/privateOffers/'),
    });
    const now = await gcp.buy({ autoApprove: true });
    expect(await gcp.get(now.entitlementId)).toMatchObject({ state: 'ENTITLEMENT_ACTIVE' });
  });

  it('knows an account before any order: it can sign up and be approved, and the order comes later (§1, Event order is free)', async () => {
    const { json } = await gcp.control('/accounts', { buyer: 'Early Bird' });
    expect(json.signUp.fields).toHaveProperty('x-gcp-marketplace-token');
    expect((await gcp.api(`/accounts/${json.accountId}`)).json.approvals).toMatchObject([{ name: 'signup', state: 'PENDING' }]);
    expect((await gcp.api(`/entitlements?filter=${encodeURIComponent(`account="${json.accountId}"`)}`)).json.entitlements).toBeUndefined();
    expect((await gcp.api(`/accounts/${json.accountId}:approve`, { approvalName: 'signup' })).status).toBe(200);
    const bought = await gcp.buy({ buyer: 'Early Bird' });
    expect(bought.accountId).toBe(json.accountId);
    expect((await gcp.messages(bought.entitlementId)).map((one) => one.eventType)).toEqual(['ENTITLEMENT_CREATION_REQUESTED']);
  });

  it('asks for a bearer only when told, and logs calls without tokens (§2)', async () => {
    const { entitlementId } = await gcp.buy();
    await gcp.settings({ requireBearer: true });
    const bare = await gcp.api(`/entitlements/${entitlementId}`);
    const borne = await gcp.api(`/entitlements/${entitlementId}`, undefined, { authorization: 'Bearer secret-thing' });
    await gcp.settings({ requireBearer: false });
    expect([bare.status, bare.json.error.status, borne.status]).toEqual([401, 'UNAUTHENTICATED', 200]);
    const calls = (await gcp.running.control('/calls?marketplace=gcp&operation=getEntitlement&limit=1')).text;
    expect(calls).toContain(entitlementId);
    expect(calls).not.toContain('secret-thing');
  });
});
