import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House, until } from './support/house.js';

const ADA = { name: 'Ada Winter', email: 'ada@winter.example', message: 'Our archive' };
const DETAILS = { organisation: 'Winter Archive', region: 'local', contactName: 'Ada Winter', contactEmail: 'ada@winter.example' };

/** Architecture §5.4: a landing token alone makes nobody a tenant's admin. */
describe('who may claim a purchase, where approval is asked', () => {
  let house: House;
  beforeAll(async () => {
    house = await new House({ BERTH_LANDING_ACCESS: 'approval', BERTH_TRUSTED_PROXIES: '127.0.0.1' }).start();
  }, 60_000);
  afterAll(() => house?.stop());

  const post = (sessionId: string, what: 'claim' | 'details', body: unknown) =>
    house.call('POST', `${house.controlPlane.url}/landing/api/sessions/${sessionId}/${what}`, body);
  const claimsOf = async (sub?: string) =>
    (await house.api('GET', `/claims${sub ? `?subscriptionId=${sub}` : ''}`)).json.items as Record<string, unknown>[];

  it('shows a visitor what was bought and nothing more, until an operator has approved; then form, endpoint and keys', async () => {
    const { sessionId, landingUrl } = await house.buy('Approved');
    const stranger = (await house.call('GET', landingUrl)).headers.get('location')!.split('/').pop()!;
    const before = (await house.session(sessionId)).json;
    expect(before).toMatchObject({
      state: 'needs_access',
      access: { state: 'needed' },
      purchase: { subscriptionName: 'Approved', beneficiaryEmail: null, purchaserEmail: null },
      defaults: { contactEmail: '' },
      tenant: null,
      endpoint: null,
    });
    expect(await post(sessionId, 'details', DETAILS)).toMatchObject({ status: 403, json: { code: 'landing.access_needed' } });
    expect(await post(sessionId, 'claim', { name: '' })).toMatchObject({ status: 400, json: { code: 'claim.details_invalid' } });
    expect(await post(sessionId, 'claim', ADA)).toMatchObject({ status: 202, json: { access: { state: 'pending' } } });
    const [claim] = await claimsOf();
    expect(claim).toMatchObject({ state: 'pending', claimant: ADA, namesBeneficiary: false });
    const path = `/claims/${String(claim!['id'])}`;
    expect(await house.api('POST', `${path}/approve`, {})).toMatchObject({ status: 400, json: { code: 'request.invalid' } });
    expect(await house.api('POST', `${path}/approve`, { reason: 'rang back' }, '')).toMatchObject({ status: 401 });
    expect(await house.api('POST', `${path}/approve`, { reason: 'rang back' })).toMatchObject({ status: 200, json: { state: 'approved' } });
    expect(await house.api('POST', `${path}/reject`, { reason: 'after all' })).toMatchObject({
      status: 409,
      json: { code: 'claim.decided' },
    });
    expect((await house.session(sessionId)).json).toMatchObject({ state: 'needs_details', access: { state: 'granted' } });
    expect(await post(sessionId, 'details', DETAILS)).toMatchObject({ status: 202 });
    const ready = await until(
      () => house.session(sessionId),
      (a) => a.json['state'] === 'ready',
    );
    expect((ready.json['endpoint'] as { keys: unknown[] }).keys).toHaveLength(1);
    // Whoever holds the same link sees nothing of it.
    expect((await house.session(stranger)).json).toMatchObject({ state: 'needs_access', endpoint: null, tenant: null });
  }, 90_000);

  it('tells a visitor who is declined why, and lists him no more', async () => {
    const { sessionId } = await house.buy('Declined');
    await post(sessionId, 'claim', ADA);
    // What an alert looks at.
    await house.shop('POST', '/clock/advance', { seconds: 180, stepSeconds: 60 });
    await until(
      () => house.call('GET', `${house.controlPlane.url}/metrics`),
      (a) => /^berth_claims_pending 1$/m.test(a.text) && /^berth_claims_oldest_seconds [1-9]/m.test(a.text),
    );
    const [claim] = await claimsOf();
    await house.api('POST', `/claims/${String(claim!['id'])}/reject`, { reason: 'Ask your purchasing department' });
    expect((await house.session(sessionId)).json).toMatchObject({
      state: 'needs_access',
      access: { state: 'rejected', reason: 'Ask your purchasing department' },
    });
    expect(await claimsOf()).toEqual([]);
    expect((await house.api('GET', '/claims?state=rejected')).json.items).toHaveLength(1);
    expect(await house.api('GET', '/claims?state=maybe')).toMatchObject({ status: 400, json: { code: 'request.invalid' } });
    expect(await house.api('POST', '/claims/clm_nonsense/approve', { reason: 'why not' })).toMatchObject({ status: 404 });
  });

  it('behind a proxy that is trusted is limited by his own address, not by that of all buyers', async () => {
    const arrive = (from: string) =>
      house.call('GET', `${house.controlPlane.url}/landing/azure?token=garbled`, undefined, { 'x-forwarded-for': from });
    const statuses = await Promise.all(Array.from({ length: 31 }, async () => (await arrive('203.0.113.7')).status));
    expect(statuses.filter((s) => s === 429)).toHaveLength(1);
    expect((await arrive('203.0.113.8')).status).toBe(303);
  });
});
