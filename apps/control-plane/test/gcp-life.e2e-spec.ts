import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Google, tokenOf, type Bought } from './support/google.js';
import { House, sessionOf, until } from './support/house.js';

const house = new House();
const google = new Google(house);
const buyer = `Kelp Works ${randomUUID().slice(0, 8)}`;
let first: Bought;

beforeAll(async () => {
  await house.start();
  first = await google.buy({ buyer });
  await google.serve(first, 'Kelp Works');
}, 90_000);
afterAll(() => house.stop(), 30_000);

const becomes = (bought: Bought, state: string): Promise<Record<string, unknown> | undefined> =>
  until(
    () => house.subscriptionOf(bought.entitlementId),
    (s) => s?.['state'] === state,
    60_000,
  );
const act = (bought: Bought, action: string) => house.shop('POST', `/gcp/entitlements/${bought.entitlementId}/${action}`);
const advance = async (seconds: number): Promise<void> => {
  const answer = await house.shop('POST', '/clock/advance', { seconds, stepSeconds: Math.min(seconds, 3_600) });
  expect(answer.status).toBe(200);
};
/** A comparison with Google's list, from wish to end. */
async function compare(): Promise<void> {
  const { json, status, text } = await house.api('POST', '/marketplaces/gcp/drift-runs');
  expect(status, text).toBe(202);
  await until(
    async () => (await house.api('GET', `/marketplaces/gcp/drift-runs/${String(json['id'])}`)).json['state'],
    (state) => state === 'completed' || state === 'failed',
  );
}

describe('a buyer of Google Cloud', () => {
  it('who has signed up before is served from the event alone, and the sweep serves him where that was lost [GC-12]', async () => {
    const second = await google.buy({ buyer });
    expect(second.accountId).toBe(first.accountId);
    const served = await becomes(second, 'active');
    const tenants = await house.list('tenants');
    const mine = tenants.find((t) => t['id'] === served!['tenantId']);
    expect(mine).toMatchObject({ displayName: 'Kelp Works' });
    expect(served!['tenantId']).not.toBe((await house.subscriptionOf(first.entitlementId))['tenantId']);

    await house.shop('POST', '/faults', { marketplace: 'gcp', operation: 'ENTITLEMENT_CREATION_REQUESTED', kind: 'hold_event' });
    const lost = await google.buy({ buyer });
    await google.drained();
    expect(await house.subscriptionOf(lost.entitlementId)).toBeUndefined();
    await advance(1_200);
    await compare();
    await becomes(lost, 'active');
  }, 120_000);

  it('whose approval is taken back without a message is approved again by the sweep [GC-13]', async () => {
    const reset = await google.buy();
    await google.serve(reset, 'Reset Works');
    await house.shop('POST', `/gcp/accounts/${reset.accountId}/unapprove`);
    await advance(1_200);
    await compare();
    await until(
      async () => (await house.shop('GET', `/gcp/entitlements/${reset.entitlementId}`)).json['account'] as { signUp: string },
      (account) => account.signUp === 'APPROVED',
    );
  }, 120_000);

  it('whose offer begins later waits for the day, and nothing is set up before [GC-26]', async () => {
    const { json } = await house.shop('GET', '/clock');
    const startsAt = new Date(Date.parse(String(json['now'])) + 30 * 3_600_000).toISOString();
    const later = await google.buy({ autoApprove: true, startsAt });
    expect(await becomes(later, 'scheduled')).toMatchObject({ tenantId: null });
    await advance(31 * 3_600);
    expect((await becomes(later, 'active'))!['tenantId']).toMatch(/^ten_/);
  }, 120_000);

  it('whose later start is known only after the approval has no access until that day [GC-26]', async () => {
    const { json } = await house.shop('GET', '/clock');
    const startsAt = new Date(Date.parse(String(json['now'])) + 30 * 3_600_000).toISOString();
    const later = await google.buy({ startsAt });
    await google.storedOf(later, 'ENTITLEMENT_CREATION_REQUESTED');
    const session = sessionOf(await google.land(tokenOf(later)));
    const details = { organisation: 'Patient Works', region: 'local', contactName: 'Ada', contactEmail: 'ada@patient.example' };
    await house.call('POST', `${house.controlPlane.url}/landing/api/sessions/${session}/details`, details);
    const mine = await becomes(later, 'scheduled');
    const placement = async () => (await house.list('placements')).find((p) => p['tenantId'] === mine!['tenantId'])!;
    await until(placement, (p) => p['phase'] === 'suspended');
    await advance(31 * 3_600);
    await becomes(later, 'active');
    await until(placement, (p) => p['phase'] === 'active');
  }, 120_000);

  it('who only comes to manage is received by GET, and one with a token sees his purchase as it is [GC-08]', async () => {
    const plain = await house.call('GET', `${house.controlPlane.url}/landing/gcp?x-gcp-marketplace-token=never-read`);
    expect([plain.status, plain.headers.get('location')]).toEqual([303, '/landing/problem?code=landing.login&marketplace=gcp']);
    const { json } = await house.shop('POST', `/gcp/entitlements/${first.entitlementId}/sign-up`);
    const session = sessionOf(await google.land(tokenOf(json as unknown as Bought)));
    // The person who gave the details returns to his keys; another user of the account needs a claim (ADR 0015).
    expect((await house.session(session)).json).toMatchObject({
      tenant: { displayName: 'Kelp Works' },
      endpoint: { keys: [{ id: 'k1' }] },
    });
  });

  it('reads at Google what his order waits for [GC-27]', async () => {
    const waiting = await google.buy();
    const text = await until(
      async () =>
        ((await house.shop('GET', `/gcp/entitlements/${waiting.entitlementId}`)).json['wire'] as Record<string, unknown>)['messageToUser'],
      (t) => t !== undefined,
    );
    expect(text).toMatch(/registration/);
    const calls = (await house.shop('GET', '/calls?marketplace=gcp&operation=patchEntitlement')).json.items!;
    expect(calls.length).toBeGreaterThan(0);
  });

  it('who signs up before his order is there is told so, and served when it comes [GC-58]', async () => {
    const name = `Early Bird ${randomUUID().slice(0, 8)}`;
    const { json } = await house.shop('POST', '/gcp/accounts', { buyer: name });
    const location = await google.land(tokenOf(json as unknown as Bought));
    expect(location).toBe('/landing/problem?code=landing.awaiting_order&marketplace=gcp');
    const order = await google.buy({ buyer: name });
    expect(order.accountId).toBe(json['accountId']);
    expect((await becomes(order, 'active'))!['tenantId']).toMatch(/^ten_/);
  }, 120_000);

  it('whose billing is disabled is not served until it is enabled again [GC-54]', async () => {
    await advance(1_200);
    await act(first, 'billing-disable');
    await advance(1_200);
    await compare();
    expect(await becomes(first, 'suspended')).toMatchObject({ suspendedSource: 'service_check' });
    await until(
      () => house.list('placements'),
      (all) => all.some((p) => p['phase'] === 'suspended' || p['state'] === 'suspended'),
    );
    await act(first, 'billing-enable');
    await advance(600);
    expect(await becomes(first, 'active')).toMatchObject({ suspendedSource: null });
  }, 120_000);

  it('who is deleted takes his data along; what proves the bill stays under a pseudonym [GC-38]', async () => {
    const one = await google.buy();
    const served = await google.serve(one, 'Ephemeral Works');
    const name = `/tenants/${String(served['tenantId'])}`;
    expect((await house.api('GET', name)).json).toMatchObject({ displayName: 'Ephemeral Works' });
    await house.shop('POST', `/gcp/accounts/${one.accountId}/delete`);
    // Without usage to settle it is closing for a moment only.
    await until(
      () => house.subscriptionOf(one.entitlementId),
      (s) => s?.['state'] === 'closing' || s?.['state'] === 'cancelled',
      60_000,
    );
    await advance(6 * 3_600);
    await becomes(one, 'cancelled');
    // It is looked at every five minutes whether the usage is settled and access has ended: time goes on until both are.
    const tenant = await until(
      async () => {
        await advance(300);
        return (await house.api('GET', name)).json;
      },
      (t) => t['displayName'] !== 'Ephemeral Works',
      60_000,
    );
    expect(tenant).toMatchObject({ displayName: expect.stringMatching(/^gone-/) });
    for (const list of ['tenants', 'subscriptions', 'inbound-events', 'placements'])
      expect(JSON.stringify(await house.list(list)), list).not.toMatch(/ephemeral/i);
    expect(JSON.stringify(await house.list('subscriptions'))).not.toContain(one.accountId);
    expect(await house.subscriptionOf(one.entitlementId), 'the purchase itself is evidence').toMatchObject({ state: 'cancelled' });
    const [message] = (await house.list('inbound-events')).filter((e) => String(e['naturalKey']).includes('ACCOUNT_DELETED'));
    expect(message).toMatchObject({ state: 'processed' });
    expect(await becomes(first, 'active')).toBeDefined();
  }, 180_000);
});
