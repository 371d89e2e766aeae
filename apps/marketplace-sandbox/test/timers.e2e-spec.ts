import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Running, startSandbox } from './support/harness.js';
import { Receiver } from './support/receiver.js';

let sandbox: Running;
const receiver = new Receiver();
beforeAll(async () => {
  sandbox = await startSandbox();
  await sandbox.settings({ webhookUrl: await receiver.start() });
});
afterAll(async () => {
  await sandbox.stop();
  await receiver.stop();
});
beforeEach(() => {
  receiver.received.length = 0;
});

const DAY = 86_400;
const stateOf = async (id: string): Promise<string> => (await sandbox.api(`/saas/subscriptions/${id}`)).json.saasSubscriptionStatus;

describe('what time alone does (contract azure §5)', () => {
  it('voids a purchase that nobody activated for 30 days, without a word', async () => {
    const { subscriptionId: id } = await sandbox.purchase();
    await sandbox.advance(30 * DAY - 60);
    expect(await stateOf(id)).toBe('PendingFulfillmentStart');
    await sandbox.advance(120);
    expect(await stateOf(id)).toBe('Unsubscribed');
    expect(receiver.received).toEqual([]);
    expect((await sandbox.api(`/saas/subscriptions/${id}/activate`, { body: { planId: 'standard' } })).status).toBe(404);
  });

  it('cancels after 30 days of suspension, with a webhook', async () => {
    const id = await sandbox.subscribed();
    await sandbox.act(id, 'suspend');
    await sandbox.advance(30 * DAY - 60);
    expect(await stateOf(id)).toBe('Suspended');
    await sandbox.advance(120);
    expect(await stateOf(id)).toBe('Unsubscribed');
    expect(receiver.received.map(({ body }) => [body.subscriptionId, body.action])).toEqual([
      [id, 'Suspend'],
      [id, 'Unsubscribe'],
    ]);
  });

  it('renews on the day after the last day of the term, once for each term', async () => {
    const id = await sandbox.subscribed();
    const { term } = await sandbox.view(id);
    const renewal = Date.parse(term.endDate) + DAY * 1000;
    await sandbox.advance((renewal - (await sandbox.now())) / 1000 - 60);
    expect(receiver.of('Renew')).toHaveLength(0);
    await sandbox.advance(120);
    expect(receiver.of('Renew')).toHaveLength(1);
    const after = (await sandbox.view(id)).term;
    expect(Date.parse(after.startDate)).toBe(renewal);
    expect(receiver.of('Renew')[0]?.body.subscription.term).toMatchObject({
      startDate: after.startDate,
      endDate: after.endDate,
      termUnit: 'P1M',
    });
    await sandbox.act(id, 'unsubscribe');
  });

  it('ends at the end of its term when it is not to be renewed', async () => {
    const { subscriptionId: id } = await sandbox.purchase({ autoRenew: false });
    await sandbox.api(`/saas/subscriptions/${id}/activate`, { body: { planId: 'standard' } });
    await sandbox.advance(32 * DAY);
    expect(await stateOf(id)).toBe('Unsubscribed');
    expect(receiver.received.filter(({ body }) => body.subscriptionId === id).map(({ body }) => body.action)).toEqual(['Unsubscribe']);
  });
});
