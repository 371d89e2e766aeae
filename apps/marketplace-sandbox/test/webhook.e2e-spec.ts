import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually, type Running, startSandbox } from './support/harness.js';
import { Receiver } from './support/receiver.js';

let sandbox: Running;
const receiver = new Receiver();
beforeAll(async () => {
  sandbox = await startSandbox();
  await sandbox.settings({ webhookUrl: `${await receiver.start()}/azure/webhook` });
});
afterAll(async () => {
  await sandbox.stop();
  await receiver.stop();
});
beforeEach(() => {
  receiver.received.length = 0;
  receiver.answering = () => ({ status: 200 });
});

const operation = async (id: string, operationId: string): Promise<any> =>
  (await sandbox.api(`/saas/subscriptions/${id}/operations/${operationId}`)).json;
const patch = (id: string, operationId: string, status: string): ReturnType<Running['api']> =>
  sandbox.api(`/saas/subscriptions/${id}/operations/${operationId}`, { method: 'PATCH', body: { status } });
const planOf = async (id: string): Promise<string> => (await sandbox.api(`/saas/subscriptions/${id}`)).json.planId;
const settled = async (id: string, index = 0): Promise<any> =>
  eventually(async () => {
    const webhook = (await sandbox.view(id)).webhooks[index];
    return webhook?.attempts.length > 0 && webhook;
  });
async function changing(): Promise<{ id: string; operationId: string }> {
  const id = await sandbox.subscribed();
  const { operationId } = (await sandbox.act(id, 'change-plan', { planId: 'premium' })).json;
  await settled(id);
  return { id, operationId };
}

describe('the body of a webhook (contract azure §4)', () => {
  it('of ChangePlan names the new plan outside and the old one inside', async () => {
    const { id, operationId } = await changing();
    expect(receiver.received[0]?.body).toMatchObject({
      id: operationId,
      subscriptionId: id,
      action: 'ChangePlan',
      status: 'InProgress',
      planId: 'premium',
      quantity: 1,
      operationRequestSource: 'Azure',
      purchaseToken: null,
      subscription: { id, planId: 'standard', quantity: null, saasSubscriptionStatus: 'Subscribed' },
    });
    expect(receiver.received[0]?.body.timeStamp).toMatch(/\.\d{7}Z$/);
    expect(await operation(id, operationId)).toMatchObject({ action: 'ChangePlan', planId: 'premium', status: 'InProgress' });
    expect(await planOf(id)).toBe('standard');
  });

  it('of Suspend, Reinstate, Renew and Unsubscribe is a notice of what has happened', async () => {
    const id = await sandbox.subscribed();
    const before = (await sandbox.view(id)).term;
    for (const action of ['suspend', 'reinstate', 'renew', 'unsubscribe']) await sandbox.act(id, action);
    await eventually(() => receiver.received.length === 4);
    expect(receiver.received.map(({ body }) => [body.action, body.status, body.subscription.saasSubscriptionStatus])).toEqual([
      ['Suspend', 'Succeeded', 'Subscribed'],
      ['Reinstate', 'InProgress', 'Subscribed'],
      ['Renew', 'Succeeded', 'Subscribed'],
      ['Unsubscribe', 'Succeeded', 'Unsubscribed'],
    ]);
    const renewed = receiver.of('Renew')[0]?.body.subscription.term;
    expect(Date.parse(renewed.startDate)).toBe(Date.parse(before.endDate) + 86_400_000);
  });

  it('of Subscribe comes with an auto-activated purchase, and nothing comes with a manual one', async () => {
    await sandbox.purchase();
    const { subscriptionId } = await sandbox.purchase({ autoActivate: true });
    await eventually(() => receiver.received.length === 1);
    expect(receiver.received[0]?.body).toMatchObject({
      action: 'Subscribe',
      status: 'Succeeded',
      subscriptionId,
      subscription: { saasSubscriptionStatus: 'Subscribed' },
    });
  });

  it('of our own change comes back as Partner', async () => {
    const id = await sandbox.subscribed({ offerId: 'seats', planId: 'team', quantity: 5 });
    await sandbox.api(`/saas/subscriptions/${id}`, { method: 'PATCH', body: { quantity: 9 } });
    await eventually(() => receiver.received.length === 1);
    expect(receiver.received[0]?.body).toMatchObject({
      action: 'ChangeQuantity',
      quantity: 9,
      operationRequestSource: 'Partner',
      subscription: { quantity: 5 },
    });
  });
});

describe('how a change is decided (contract azure §0.4, §4)', () => {
  it('PATCH Success applies it', async () => {
    const { id, operationId } = await changing();
    expect((await patch(id, operationId, 'Success')).status).toBe(200);
    expect(await planOf(id)).toBe('premium');
    expect(await operation(id, operationId)).toMatchObject({ status: 'Succeeded' });
    expect((await sandbox.api(`/saas/subscriptions/${id}/operations`)).json).toEqual({ operations: [] });
  });

  it('PATCH Failure refuses it, also later on', async () => {
    const { id, operationId } = await changing();
    await patch(id, operationId, 'Failure');
    await sandbox.advance(60);
    expect(await planOf(id)).toBe('standard');
    expect(await operation(id, operationId)).toMatchObject({ status: 'Failed', errorStatusCode: '400' });
  });

  it('PATCH with another word is refused', async () => {
    const { id, operationId } = await changing();
    expect((await patch(id, operationId, 'Succeeded')).status).toBe(400);
  });

  it('a 4xx in time refuses it', async () => {
    receiver.answering = () => ({ status: 400 });
    const { id, operationId } = await changing();
    await sandbox.advance(60);
    expect(await planOf(id)).toBe('standard');
    expect(await operation(id, operationId)).toMatchObject({ status: 'Failed' });
    expect((await sandbox.view(id)).operations[0].decidedBy).toBe('webhook_refused');
    expect(receiver.received).toHaveLength(1);
  });

  it('silence after a 200 accepts it after 10 s and not before', async () => {
    const { id, operationId } = await changing();
    await sandbox.advance(5);
    expect(await operation(id, operationId)).toMatchObject({ status: 'InProgress' });
    await sandbox.advance(6);
    expect(await operation(id, operationId)).toMatchObject({ status: 'Succeeded' });
    expect(await planOf(id)).toBe('premium');
    expect((await sandbox.view(id)).operations[0].decidedBy).toBe('silence');
  });

  it('no answer within the window accepts it', async () => {
    await sandbox.settings({ answerWindowSeconds: 0.2 });
    receiver.answering = () => ({});
    const { id, operationId } = await changing();
    await eventually(async () => (await operation(id, operationId)).status === 'Succeeded');
    await sandbox.settings({ answerWindowSeconds: 10 });
    const [attempt] = (await sandbox.view(id)).webhooks[0].attempts;
    expect([attempt.status, attempt.error]).toEqual([null, 'no answer within 200 ms']);
  });

  it('a newer one that was fulfilled wins: PATCH of the older answers 409 with the request id', async () => {
    const id = await sandbox.subscribed({ offerId: 'seats', planId: 'team', quantity: 5 });
    const older = (await sandbox.act(id, 'change-quantity', { quantity: 6 })).json.operationId;
    const newer = (await sandbox.act(id, 'change-quantity', { quantity: 7 })).json.operationId;
    await patch(id, newer, 'Success');
    const requestId = '0a1b2c3d-0000-4000-8000-000000000002';
    const late = await sandbox.api(`/saas/subscriptions/${id}/operations/${older}`, {
      method: 'PATCH',
      body: { status: 'Success' },
      headers: { 'x-ms-requestid': requestId },
    });
    expect([late.status, late.json.message]).toEqual([409, requestId]);
    expect((await patch(id, older, 'Failure')).status).toBe(409);
    expect(await operation(id, older)).toMatchObject({ status: 'Conflict' });
    expect((await sandbox.api(`/saas/subscriptions/${id}`)).json.quantity).toBe(7);
  });

  it('a notice cannot be refused', async () => {
    const id = await sandbox.subscribed();
    await sandbox.act(id, 'suspend');
    const { operationId } = (await sandbox.act(id, 'reinstate')).json;
    expect((await patch(id, operationId, 'Failure')).status).toBe(400);
    expect((await patch(id, operationId, 'Success')).status).toBe(200);
  });

  it('a reinstatement waits for its PATCH in the older reading (§0.5)', async () => {
    await sandbox.settings({ reinstate: 'patch' });
    const id = await sandbox.subscribed();
    await sandbox.act(id, 'suspend');
    const { operationId } = (await sandbox.act(id, 'reinstate')).json;
    await eventually(() => receiver.received.some((one) => one.body['id'] === operationId));
    await sandbox.advance(60);
    const status = async () => (await sandbox.api(`/saas/subscriptions/${id}`)).json.saasSubscriptionStatus;
    expect(await status()).toBe('Suspended');
    expect((await patch(id, operationId, 'Failure')).status).toBe(200);
    expect(await status()).toBe('Suspended');
    const again = (await sandbox.act(id, 'reinstate')).json;
    expect((await patch(id, again.operationId, 'Success')).status).toBe(200);
    expect(await status()).toBe('Subscribed');
    await sandbox.settings({ reinstate: 'notice' });
  });

  it('a 200 to a repeat after a refusal accepts the change after all', async () => {
    receiver.answering = (_one, count) => ({ status: count === 1 ? 400 : 200 });
    await sandbox.control('/faults', { body: { marketplace: 'azure', operation: 'ChangePlan', kind: 'duplicate_webhook' } });
    const { id, operationId } = await changing();
    await eventually(() => receiver.received.length === 2);
    await eventually(async () => (await sandbox.view(id)).webhooks[0].attempts.length === 2);
    await sandbox.advance(11);
    expect(await operation(id, operationId)).toMatchObject({ status: 'Succeeded' });
  });

  it('may come back as a revert to the plan in force', async () => {
    await sandbox.settings({ revertAfterRefusal: true });
    receiver.answering = (_one, count) => ({ status: count === 1 ? 400 : 200 });
    const { id } = await changing();
    await eventually(() => receiver.received.length === 2);
    await sandbox.settings({ revertAfterRefusal: false });
    expect(receiver.received[1]?.body).toMatchObject({ action: 'ChangePlan', planId: 'standard', subscription: { planId: 'standard' } });
    await sandbox.advance(11);
    expect((await sandbox.view(id)).operations.map((one: { status: string }) => one.status)).toEqual(['Failed', 'Succeeded']);
  });

  it('fails with 500 for a change of our own where the running service is played', async () => {
    const id = await sandbox.subscribed();
    await sandbox.api(`/saas/subscriptions/${id}`, { method: 'PATCH', body: { planId: 'premium' } });
    const [{ id: operationId }] = (await sandbox.view(id)).operations;
    await sandbox.settings({ quirks: 'observed' });
    const answer = await patch(id, operationId, 'Success');
    await sandbox.settings({ quirks: 'documented' });
    expect(answer.status).toBe(500);
  });
});

describe('delivery (contract azure §0.7, §4)', () => {
  it('is tried again after a 500, with the same bytes, until it is taken', async () => {
    receiver.answering = (_one, count) => ({ status: count < 3 ? 500 : 200 });
    const id = await sandbox.subscribed();
    await sandbox.act(id, 'suspend');
    await eventually(() => receiver.received.length === 1);
    await sandbox.advance(300, 60);
    expect(receiver.received).toHaveLength(3);
    expect(new Set(receiver.received.map((one) => one.text)).size).toBe(1);
    const [webhook] = (await sandbox.view(id)).webhooks;
    expect(webhook.state).toBe('delivered');
    expect(webhook.attempts.map((one: { status: number }) => one.status)).toEqual([500, 500, 200]);
  });

  it('keeps a change open while the webhook answers 500, and fails it after 8 h', async () => {
    receiver.answering = () => ({ status: 500 });
    const { id, operationId } = await changing();
    await sandbox.advance(7.9 * 3600, 3600);
    expect(await operation(id, operationId)).toMatchObject({ status: 'InProgress' });
    await sandbox.advance(3600);
    expect(await operation(id, operationId)).toMatchObject({ status: 'Failed' });
    const tries = receiver.received.length;
    await sandbox.advance(3600);
    expect(receiver.received).toHaveLength(tries);
    expect(await planOf(id)).toBe('standard');
  });

  it('goes on to a webhook that was away', async () => {
    const away = await startSandbox();
    const late = new Receiver();
    const url = await late.start();
    await late.stop();
    await away.settings({ webhookUrl: url });
    await away.purchase({ autoActivate: true });
    await eventually(async () => (await away.control('/azure/subscriptions')).json.items[0].webhooks[0].attempts.length > 0);
    await late.start();
    await away.advance(60);
    await eventually(() => late.received.length === 1);
    await away.stop();
    await late.stop();
  });

  it('can be doubled and reordered on order', async () => {
    const id = await sandbox.subscribed();
    await sandbox.control('/faults', { body: { marketplace: 'azure', operation: 'Suspend', kind: 'reorder_webhook' } });
    await sandbox.control('/faults', { body: { marketplace: 'azure', operation: 'Reinstate', kind: 'duplicate_webhook' } });
    await sandbox.act(id, 'suspend');
    await sandbox.act(id, 'reinstate');
    await eventually(() => receiver.received.length === 3);
    expect(receiver.received.map(({ body }) => body.action).sort()).toEqual(['Reinstate', 'Reinstate', 'Suspend']);
    expect(receiver.received[0]?.body.action).toBe('Reinstate');
    const [first, second] = receiver.of('Reinstate');
    expect(first?.text).toBe(second?.text);
  });
});
