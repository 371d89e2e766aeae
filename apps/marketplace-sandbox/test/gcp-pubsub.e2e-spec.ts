import { type Message, v1 } from '@google-cloud/pubsub';
import { credentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type GcpWire, startGcp, SUBSCRIPTION, TOPIC } from './support/gcp-harness.js';
import { call, eventually, tempFolder } from './support/harness.js';

type Started = GcpWire & { stop(): Promise<void> };
interface Got {
  body: any;
  message: Message;
}

let gcp: Started;
const open: (() => Promise<unknown>)[] = [];
const closeAll = (): Promise<unknown> => Promise.all(open.splice(0).map((close) => close()));
beforeAll(async () => {
  // Otherwise the client asks a metadata server for a project (contract gcp §6, pitfall 2).
  process.env['METADATA_SERVER_DETECTION'] = 'none';
  gcp = await startGcp();
});
afterEach(async () => {
  await closeAll();
  await gcp.running.control('/faults', { method: 'DELETE' });
});
afterAll(() => gcp.stop());

/** The real client on StreamingPull; `answer` decides about each message. */
function listen(wire: Started, answer: (got: Got, count: number) => void): Got[] {
  const client = wire.client();
  const got: Got[] = [];
  const subscription = client.subscription(SUBSCRIPTION);
  open.push(async () => {
    await subscription.close();
    await client.close();
  });
  subscription.on('message', (message: Message) => {
    const one = { body: JSON.parse(message.data.toString()), message };
    got.push(one);
    answer(one, got.length);
  });
  subscription.on('error', () => undefined);
  return got;
}
const typesOf = (got: Got[], bought: { entitlementId: string; accountId: string }): string[] =>
  got
    .filter(({ body }) => body.entitlement?.id === bought.entitlementId || body.account?.id === bought.accountId)
    .map(({ body }) => body.eventType);
const fault = (operation: string, kind: string): Promise<unknown> =>
  gcp.running.control('/faults', { body: { marketplace: 'gcp', operation, kind } });

describe('the notifications (contract gcp §3)', () => {
  it('of one purchase are ACCOUNT_ACTIVE and CREATION_REQUESTED under one eventId, by StreamingPull (§3, Delivery; §6)', async () => {
    const got = listen(gcp, ({ message }) => message.ack());
    const bought = await gcp.buy();
    expect(bought.notifications).toBe('sent');
    const [account, asked] = await eventually(() => {
      const mine = got.filter(({ body }) => body.entitlement?.id === bought.entitlementId || body.account?.id === bought.accountId);
      return mine.length === 2 && mine.sort((a, b) => (a.message.id < b.message.id ? -1 : 1));
    });
    expect(account?.body).toEqual({
      eventId: asked?.body.eventId,
      eventType: 'ACCOUNT_ACTIVE',
      providerId: 'harbor-storage-public',
      account: { id: bought.accountId, updateTime: expect.stringMatching(/\.\d{6}Z$/) },
    });
    expect(asked?.body.entitlement).toMatchObject({ id: bought.entitlementId, newOfferEndTime: '' });
    expect([Object.keys(asked?.message.attributes ?? {}), account?.message.id === asked?.message.id]).toEqual([[], false]);
    await gcp.api(`/accounts/${bought.accountId}:approve`, { approvalName: 'signup' });
    await gcp.api(`/entitlements/${bought.entitlementId}:approve`, {});
    await eventually(() => typesOf(got, bought).includes('ENTITLEMENT_ACTIVE'));
  });

  it('tell of an account once, however much its buyer buys, and without eventType when told so (§1, §3)', async () => {
    await gcp.settings({ accountEventType: false });
    const first = await gcp.buy({ buyer: 'Twice' });
    await gcp.settings({ accountEventType: true });
    const second = await gcp.buy({ buyer: 'Twice' });
    const bodies = [...(await gcp.messages(first.entitlementId)), ...(await gcp.messages(second.entitlementId))].map((one) => one.body);
    expect(bodies.map((body) => [body.account !== undefined, body.eventType])).toEqual([
      [true, undefined],
      [false, 'ENTITLEMENT_CREATION_REQUESTED'],
      [false, 'ENTITLEMENT_CREATION_REQUESTED'],
    ]);
  });

  it('come back after a nack, and not after an ack (§6)', async () => {
    let refusals = 2;
    const got = listen(gcp, ({ body, message }) => (body.eventType === 'TRY' && refusals-- > 0 ? message.nack() : message.ack()));
    const publisher = gcp.client();
    open.push(() => publisher.close());
    const id = await publisher.topic(TOPIC).publishMessage({ data: Buffer.from('{"eventType":"TRY"}') });
    const tries = (): number => got.filter(({ message }) => message.id === id).length;
    await eventually(() => tries() === 3);
    // A later message shows that the acked one is not coming again.
    const next = await publisher.topic(TOPIC).publishMessage({ data: Buffer.from('{"eventType":"NEXT"}') });
    await eventually(() => got.some(({ message }) => message.id === next));
    expect(tries()).toBe(3);
  });

  it('can be pulled, extended and acknowledged by the low-level client (§6)', async () => {
    const [host, port] = gcp.pubsubHost.split(':');
    const client = new v1.SubscriberClient({
      servicePath: host,
      port: Number(port),
      sslCreds: credentials.createInsecure(),
      projectId: 'harbor-storage-public',
    });
    const name = 'projects/harbor-storage-public/subscriptions/second-one';
    try {
      await client.createSubscription({ name, topic: TOPIC });
      await expect(client.createSubscription({ name, topic: TOPIC })).rejects.toMatchObject({ code: 6 });
      expect((await client.getSubscription({ subscription: name }))[0]).toMatchObject({ name, topic: TOPIC, ackDeadlineSeconds: 10 });
      await expect(client.getSubscription({ subscription: `${name}-not` })).rejects.toMatchObject({ code: 5 });
      await expect(
        client.createSubscription({ name: 'projects/harbor-storage-public/subscriptions/mp', topic: TOPIC }),
      ).rejects.toMatchObject({ code: 3 });
      await gcp.buy({ buyer: 'Pulled' });
      const pull = async (): Promise<string[]> =>
        ((await client.pull({ subscription: name, maxMessages: 10 }))[0].receivedMessages ?? []).map((one) => one.ackId ?? '');
      const first = await pull();
      expect(first).toHaveLength(2);
      expect(await pull()).toEqual([]);
      await client.modifyAckDeadline({ subscription: name, ackIds: first, ackDeadlineSeconds: 0 });
      const again = await pull();
      expect(again).toHaveLength(2);
      await client.acknowledge({ subscription: name, ackIds: again.slice(0, 1) });
      await client.modifyAckDeadline({ subscription: name, ackIds: again.slice(1), ackDeadlineSeconds: 1 });
      // The deadline runs in real time.
      expect(
        await eventually(async () => {
          const back = await pull();
          return back.length > 0 && back;
        }),
      ).toHaveLength(1);
    } finally {
      await client.deleteSubscription({ subscription: name });
      await client.close();
    }
  });

  it('are doubled, reordered and held by faults (§7.4)', async () => {
    await fault('ENTITLEMENT_CREATION_REQUESTED', 'duplicate_event');
    const twice = await gcp.buy();
    expect((await gcp.messages(twice.entitlementId)).map((one) => one.messageIds.length)).toEqual([1, 2]);
    await fault('ACCOUNT_ACTIVE', 'reorder_event');
    const swapped = await gcp.buy();
    const [account, asked] = await gcp.messages(swapped.entitlementId);
    expect(Number(account.messageIds[0])).toBeGreaterThan(Number(asked.messageIds[0]));
    await fault('ENTITLEMENT_CREATION_REQUESTED', 'hold_event');
    const held = await gcp.buy();
    await gcp.running.advance(3600);
    expect((await gcp.messages(held.entitlementId)).map((one) => one.state)).toEqual(['published', 'held']);
    expect((await gcp.act(held.entitlementId, 'notify')).json).toEqual({ entitlementId: held.entitlementId, published: 1 });
    expect((await gcp.messages(held.entitlementId)).map((one) => one.state)).toEqual(['published', 'published']);
  });

  it('wait for the sign-up, or come late, when the purchase says so (§1, Event order is free)', async () => {
    const first = await gcp.buy({ landingFirst: true });
    expect([first.notifications, (await gcp.messages(first.entitlementId)).map((one) => one.state)]).toEqual([
      'after_landing',
      ['pending', 'pending'],
    ]);
    await gcp.running.advance(6);
    expect((await gcp.messages(first.entitlementId)).map((one) => one.state)).toEqual(['published', 'published']);
    const late = await gcp.buy({ orderDelay: 86_400 });
    expect([late.notifications, (await gcp.messages(late.entitlementId)).map((one) => one.state)]).toEqual([
      'order_delayed',
      ['published', 'pending'],
    ]);
    await gcp.running.advance(86_401);
    expect((await gcp.messages(late.entitlementId)).map((one) => one.state)).toEqual(['published', 'published']);
  });

  it('are taken before a step of the clock ends, when a subscriber is connected', async () => {
    const got = listen(gcp, ({ message }) => setTimeout(() => message.ack(), 100));
    const late = await gcp.buy({ orderDelay: 600 });
    await eventually(() => typesOf(got, late).length === 1);
    await gcp.running.advance(601);
    expect(typesOf(got, late)).toEqual(['ACCOUNT_ACTIVE', 'ENTITLEMENT_CREATION_REQUESTED']);
  });

  it('survive a restart unacked, on the same port, with the same keys (§6)', async () => {
    const dataFolder = tempFolder();
    const before = await startGcp({ dataFolder });
    const bought = await before.buy();
    const nacked = listen(before, ({ message }) => message.nack());
    await eventually(() => nacked.length >= 2);
    const keys = (url: string): ReturnType<typeof call> =>
      call(`${url}/gcp/robot/v1/metadata/jwk/cloud-commerce-partner@system.gserviceaccount.com`);
    const jwks = (await keys(before.running.url)).text;
    await closeAll();
    await before.stop();

    let after = await startGcp({ dataFolder });
    try {
      expect([after.pubsubHost, (await keys(after.running.url)).text]).toEqual([before.pubsubHost, jwks]);
      const got = listen(after, ({ message }) => message.ack());
      await eventually(() => typesOf(got, bought).length === 2);
      await closeAll();
      await after.stop();
      after = await startGcp({ dataFolder });
      const none = listen(after, ({ message }) => message.ack());
      const next = await after.buy();
      await eventually(() => typesOf(none, next).length === 2);
      expect(none).toHaveLength(2);
    } finally {
      await closeAll();
      await after.stop();
    }
  });
});

describe('the storefront of Google', () => {
  const form = (path: string, fields: Record<string, string>): ReturnType<typeof call> =>
    call(`${gcp.running.url}/storefront/gcp${path}`, {
      text: new URLSearchParams(fields).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });

  it('sells, leads to the sign-up with a form of the token, and lists what is bought (§1)', async () => {
    const page = await form('/purchases', { planId: 'premium', buyer: 'Breakwater Maps', order: 'notification_first' });
    expect(page.text).toContain('action="http://127.0.0.1:4000/landing/gcp"');
    expect(page.text).toMatch(/name="x-gcp-marketplace-token" value="ey[^"]+"/);
    expect(page.text).toContain('Register with Harbor Storage');
    const id = /<code>([0-9a-f-]{36})<\/code>/.exec(page.text)?.[1] ?? '';
    const home = (await call(`${gcp.running.url}/`)).text;
    expect([home.includes(`/storefront/gcp/entitlements/${id}/cancel-now`), home.includes('Breakwater Maps')]).toEqual([true, true]);
    await form(`/entitlements/${id}/cancel-now`, {});
    expect((await gcp.get(id)).state).toBe('ENTITLEMENT_CANCELLED');
  });
});
