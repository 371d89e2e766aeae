import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, type Running, startSandbox } from './support/harness.js';

let sandbox: Running;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterAll(() => sandbox.stop());

const path = (id: string, rest = ''): string => `/saas/subscriptions/${id}${rest}`;
const resolve = (token: string, bearer?: string): ReturnType<Running['api']> =>
  sandbox.api('/saas/subscriptions/resolve', { method: 'POST', headers: { 'x-ms-marketplace-token': token }, token: bearer });

describe('Resolve (contract azure §2, §3)', () => {
  it('takes a landing token that was decoded once, and takes it again', async () => {
    const bought = await sandbox.purchase();
    expect(bought.token).toContain('+');
    expect(bought.token).toContain('/');
    expect(new URL(bought.landingUrl).searchParams.get('token')).toBe(bought.token);
    const first = await resolve(bought.token);
    expect(first.status).toBe(200);
    expect(first.json).toMatchObject({
      id: bought.subscriptionId,
      offerId: 'object-cells',
      planId: 'standard',
      quantity: '',
      subscription: {
        saasSubscriptionStatus: 'PendingFulfillmentStart',
        quantity: null,
        lastModified: '0001-01-01T00:00:00',
        allowedCustomerOperations: ['Delete', 'Update', 'Read'],
      },
    });
    expect((await resolve(bought.token)).text).toBe(first.text);
  });

  it('refuses a token whose + became a blank, and one still encoded', async () => {
    const { token } = await sandbox.purchase();
    expect((await resolve(token.replaceAll('+', ' '))).status).toBe(400);
    expect((await resolve(encodeURIComponent(token))).status).toBe(400);
  });

  it('refuses a missing token', async () => {
    const answer = await sandbox.api('/saas/subscriptions/resolve', { method: 'POST' });
    expect([answer.status, answer.json.target]).toEqual([400, 'x-ms-marketplace-token']);
  });

  it('takes a token until 24 h are over and not after; a fresh one comes from Manage account', async () => {
    const { token, subscriptionId } = await sandbox.purchase();
    await sandbox.advance(86_000);
    expect((await resolve(token)).status).toBe(200);
    await sandbox.advance(401);
    const late = await resolve(token);
    expect([late.status, late.json.details[0].message]).toEqual([400, 'The purchase token has expired.']);
    const fresh = (await sandbox.act(subscriptionId, 'manage')).json;
    expect((await resolve(fresh.token)).status).toBe(200);
  });

  it('refuses the token to an app of another seller', async () => {
    const { token } = await sandbox.purchase();
    const other = await sandbox.token('f5d81326-97ea-404c-b15d-4ec2af608d9b', 'other-secret', '1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f0');
    expect((await resolve(token, other)).status).toBe(403);
  });
});

describe('Activate (contract azure §3)', () => {
  it('starts the subscription, once', async () => {
    const { subscriptionId: id } = await sandbox.purchase();
    const body = { planId: 'standard', quantity: '' };
    const first = await sandbox.api(path(id, '/activate'), { body });
    expect([first.status, first.text]).toEqual([200, '']);
    expect((await sandbox.api(path(id))).json.saasSubscriptionStatus).toBe('Subscribed');
    expect((await sandbox.api(path(id, '/activate'), { body })).status).toBe(400);
  });

  it('refuses another plan, a quantity where there are no seats, and an unknown id', async () => {
    const { subscriptionId: id } = await sandbox.purchase();
    expect((await sandbox.api(path(id, '/activate'), { body: { planId: 'premium' } })).json.target).toBe('planId');
    expect((await sandbox.api(path(id, '/activate'), { body: { planId: 'standard', quantity: 3 } })).json.target).toBe('quantity');
    expect((await sandbox.api(path(id, '/activate'), { method: 'POST' })).status).toBe(400);
    const unknown = await sandbox.api(path('00000000-0000-4000-8000-000000000000', '/activate'), { body: { planId: 'standard' } });
    expect([unknown.status, Object.keys(unknown.json)]).toEqual([404, ['message']]);
  });

  it('wants the bought number of seats', async () => {
    const { subscriptionId: id } = await sandbox.purchase({ offerId: 'seats', planId: 'team', quantity: 5 });
    expect((await sandbox.api(path(id, '/activate'), { body: { planId: 'team', quantity: 6 } })).status).toBe(400);
    expect((await sandbox.api(path(id, '/activate'), { body: { planId: 'team' } })).status).toBe(400);
    expect((await sandbox.api(path(id, '/activate'), { body: { planId: 'team', quantity: 5 } })).status).toBe(200);
  });

  it('answers 404 once it is Unsubscribed and 400 while Suspended', async () => {
    const id = await sandbox.subscribed();
    await sandbox.act(id, 'suspend');
    expect((await sandbox.api(path(id, '/activate'), { body: { planId: 'standard' } })).status).toBe(400);
    await sandbox.act(id, 'unsubscribe');
    expect((await sandbox.api(path(id, '/activate'), { body: { planId: 'standard' } })).status).toBe(404);
  });

  it('does not check the plan where the running service is played', async () => {
    const { subscriptionId: id } = await sandbox.purchase();
    await sandbox.settings({ quirks: 'observed' });
    const answer = await sandbox.api(path(id, '/activate'), { body: { planId: 'premium' } });
    await sandbox.settings({ quirks: 'documented' });
    expect(answer.status).toBe(200);
  });
});

describe('List, Get and Plans (contract azure §3)', () => {
  it('pages with @nextLink until every subscription of the publisher was seen once', async () => {
    for (let count = 0; count < 3; count += 1) await sandbox.purchase();
    await sandbox.purchase({ offerId: 'other-thing', planId: 'only' });
    await sandbox.settings({ pageSize: 2 });
    const seen: string[] = [];
    const bearer = await sandbox.token();
    let next: string | undefined = `${sandbox.url}/azure/api/saas/subscriptions/?api-version=2018-08-31`;
    while (next) {
      const page = await call(next, { headers: { authorization: `Bearer ${bearer}` } });
      expect(page.json.subscriptions.length).toBeLessThanOrEqual(2);
      seen.push(...page.json.subscriptions.map((one: { id: string }) => one.id));
      next = page.json['@nextLink'];
    }
    await sandbox.settings({ pageSize: 100 });
    const all = (await sandbox.control('/azure/subscriptions')).json.items.filter(
      (one: { publisherId: string }) => one.publisherId === 'harbor-storage',
    );
    expect(seen.sort()).toEqual(all.map((one: { id: string }) => one.id).sort());
  });

  it('has an empty body when there is nothing to list', async () => {
    const empty = await startSandbox();
    const answer = await empty.api('/saas/subscriptions');
    await empty.stop();
    expect([answer.status, answer.text]).toEqual([200, '']);
  });

  it('shows plans with included quantities as text, and a private plan only to its audience', async () => {
    const { subscriptionId: id } = await sandbox.purchase();
    const { plans } = (await sandbox.api(path(id, '/listAvailablePlans'))).json;
    expect(plans.map((plan: { planId: string }) => plan.planId)).toEqual(['standard', 'premium']);
    expect(plans[0].planComponents.recurrentBillingTerms[0].meteredQuantityIncluded).toEqual([
      { dimensionId: 'gib_hours_stored', units: '100' },
    ]);
    expect(plans[0].planComponents.meteringDimensions[0]).toMatchObject({ id: 'gib_hours_stored', unitOfMeasure: 'per GiB-hour' });
    expect((await sandbox.api(path(id, '/listAvailablePlans?planId=premium'))).json.plans).toHaveLength(1);
    const guest = await sandbox.purchase({ planId: 'for-one', beneficiary: { tenantId: '11111111-2222-4333-8444-555555555555' } });
    expect((await sandbox.api(path(guest.subscriptionId, '/listAvailablePlans'))).json.plans).toHaveLength(3);
  });

  it('answers plans of an unknown id with an empty body', async () => {
    const answer = await sandbox.api(path('00000000-0000-4000-8000-000000000000', '/listAvailablePlans'));
    expect([answer.status, answer.text]).toEqual([200, '']);
  });
});

describe('Change and cancel by the publisher (contract azure §3)', () => {
  it('takes a change as 202 with a location to poll', async () => {
    const id = await sandbox.subscribed();
    const answer = await sandbox.api(path(id), { method: 'PATCH', body: { planId: 'premium' } });
    expect([answer.status, answer.text]).toEqual([202, '']);
    const location = answer.headers.get('operation-location') ?? '';
    const operation = await call(location, { headers: { authorization: `Bearer ${await sandbox.token()}` } });
    expect(operation.json).toMatchObject({
      subscriptionId: id,
      action: 'ChangePlan',
      planId: 'premium',
      status: 'InProgress',
      quantity: '',
    });
    expect((await sandbox.api(path(id, '/operations'))).json.operations).toHaveLength(1);
  });

  it.each([
    ['the same plan', { planId: 'standard' }],
    ['a plan it does not know', { planId: 'gold' }],
    ['a private plan of somebody else', { planId: 'for-one' }],
    ['plan and quantity at once', { planId: 'premium', quantity: 3 }],
    ['neither', {}],
    ['seats on a plan without seats', { quantity: 3 }],
  ])('refuses %s', async (_case, body) => {
    const id = await sandbox.subscribed();
    expect((await sandbox.api(path(id), { method: 'PATCH', body })).status).toBe(400);
  });

  it('refuses seats outside of the plan and changes of what is not Subscribed', async () => {
    const seats = await sandbox.subscribed({ offerId: 'seats', planId: 'team', quantity: 5 });
    expect((await sandbox.api(path(seats), { method: 'PATCH', body: { quantity: 51 } })).status).toBe(400);
    expect((await sandbox.api(path(seats), { method: 'PATCH', body: { quantity: 1 } })).status).toBe(400);
    expect((await sandbox.api(path(seats), { method: 'PATCH', body: { quantity: 6 } })).status).toBe(202);
    const { subscriptionId: pending } = await sandbox.purchase();
    expect((await sandbox.api(path(pending), { method: 'PATCH', body: { planId: 'premium' } })).status).toBe(400);
  });

  it('lets a reseller purchase be read only', async () => {
    const { subscriptionId: id } = await sandbox.purchase({ csp: true });
    await sandbox.api(path(id, '/activate'), { body: { planId: 'standard' } });
    expect((await sandbox.api(path(id))).json.allowedCustomerOperations).toEqual(['Read']);
    expect((await sandbox.api(path(id), { method: 'PATCH', body: { planId: 'premium' } })).status).toBe(400);
    expect((await sandbox.api(path(id), { method: 'DELETE' })).status).toBe(400);
  });

  it('cancels with 202, after which it stays readable for ever', async () => {
    const id = await sandbox.subscribed();
    const answer = await sandbox.api(path(id), { method: 'DELETE' });
    expect(answer.status).toBe(202);
    const bearer = await sandbox.token();
    const poll = async (): Promise<string> =>
      (await call(answer.headers.get('operation-location') ?? '', { headers: { authorization: `Bearer ${bearer}` } })).json.status;
    expect(await poll()).toBe('InProgress');
    await sandbox.advance(2);
    expect(await poll()).toBe('Succeeded');
    expect((await sandbox.api(path(id))).json.saasSubscriptionStatus).toBe('Unsubscribed');
  });

  it('answers 404 for an operation of another subscription, and 400 where the running service is played', async () => {
    const [one, two] = [await sandbox.subscribed(), await sandbox.subscribed()];
    const { operationId } = (await sandbox.act(one, 'change-plan', { planId: 'premium' })).json;
    expect((await sandbox.api(path(two, `/operations/${operationId}`))).status).toBe(404);
    await sandbox.settings({ quirks: 'observed' });
    const observed = await sandbox.api(path(two, `/operations/${operationId}`));
    await sandbox.settings({ quirks: 'documented' });
    expect(observed.status).toBe(400);
  });
});
