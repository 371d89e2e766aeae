import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House, until } from './support/house.js';

/** Partner operations change and cancel a purchase at Azure by API (contract azure §3), over HTTP and the sandbox. */
describe('changes and cancellations of the publisher', () => {
  const house = new House();
  let id = '';
  let externalId = '';
  beforeAll(async () => {
    await house.start();
    const bought = await house.buy('Winter data');
    externalId = bought.externalId;
    await house.land(bought.sessionId, 'Winter Observatory');
    const active = await until(
      () => house.subscriptionOf(externalId),
      (s) => s['state'] === 'active',
    );
    id = String(active['id']);
  }, 60_000);
  afterAll(() => house.stop(), 30_000);

  const ask = (body: unknown) => house.api('POST', `/subscriptions/${id}/changes`, body);
  const agreed = { reason: 'agreed by phone', buyerConsent: true };
  /** Their clock moves until the change has its end. */
  const ended = (changeId: unknown) =>
    until(
      async () => {
        await house.shop('POST', '/clock/advance', { seconds: 10, stepSeconds: 10 });
        return (await house.api('GET', `/subscriptions/${id}/changes/${String(changeId)}`)).json;
      },
      (c) => !['requested', 'sent'].includes(String(c['state'])),
    );

  it('refuses what was not thought through, with a code each', async () => {
    const codeOf = async (body: unknown): Promise<unknown> => (await ask(body)).json['code'];
    expect(await codeOf({ kind: 'plan', toPlan: 'premium', reason: 'agreed by phone' })).toBe('request.invalid');
    expect(await codeOf({ kind: 'cancel', ...agreed, confirm: 'yes' })).toBe('change.not_confirmed');
    expect(await codeOf({ kind: 'plan', toPlan: 'standard', ...agreed })).toBe('change.nothing_to_change');
    expect(await codeOf({ kind: 'plan', toPlan: 'no-such-plan', ...agreed })).toBe('change.refused');
    expect((await house.api('POST', `/subscriptions/${id}/changes`, { kind: 'plan', toPlan: 'premium', ...agreed }, '')).status).toBe(401);
    expect((await house.api('GET', `/subscriptions/${id}/changes`)).json.items).toEqual([]);
  });

  it('changes the plan: accepted, under way, in force, and in the timeline', async () => {
    const asked = await ask({ kind: 'plan', toPlan: 'premium', ...agreed });
    expect(asked).toMatchObject({ status: 202, json: { state: 'requested', toPlan: 'premium', error: null } });
    expect(await ended(asked.json['id'])).toMatchObject({ state: 'succeeded' });
    await until(
      () => house.subscriptionOf(externalId),
      (s) => s['planId'] === 'premium' || s['externalPlanId'] === 'premium',
    );
    const { json } = await house.api('GET', `/subscriptions/${id}/timeline?limit=200`);
    expect(json.items!.filter((e) => JSON.stringify(e).includes('changeSubscription'))).toHaveLength(1);
  });

  it('cancels: the purchase ends, and nothing more can be asked of it', async () => {
    const asked = await ask({ kind: 'cancel', ...agreed, confirm: externalId });
    expect(asked.status).toBe(202);
    expect(await ended(asked.json['id'])).toMatchObject({ state: 'succeeded' });
    await until(
      () => house.subscriptionOf(externalId),
      (s) => s['state'] === 'closing' || s['state'] === 'cancelled',
    );
    expect((await ask({ kind: 'plan', toPlan: 'standard', ...agreed })).json['code']).toBe('subscription.over');
    expect((await house.api('GET', `/subscriptions/${id}/changes`)).json.items).toHaveLength(2);
  });
});
