import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Amazon, FIELD, type Item, tokenOf } from './support/amazon.js';
import { startProgram } from '../../../test/support/program.js';
import { sessionOf, until } from './support/house.js';
import { CONTRACT, LEGACY, OldHouse, OVER, QUEUE, SEATS_TOPIC, TOPIC } from './support/old-listings.js';

interface Customer {
  customerIdentifier: string;
  registration: { fields: Record<string, string> };
}

const house = new OldHouse();
const amazon = new Amazon(house);
const door = (): string => `${house.controlPlane.url}/webhooks/aws/sns`;
const idOf = (one: Customer, code = LEGACY): string => `legacy:${code}:${one.customerIdentifier}`;
const buy = async (extra: object = {}): Promise<Customer> =>
  (await house.shop('POST', '/aws/legacy/purchases', { productCode: LEGACY, ...extra })).json as unknown as Customer;
const act = (one: Customer, action: string, body: object = {}): Promise<unknown> =>
  house.shop('POST', `/aws/legacy/customers/${one.customerIdentifier}/${action}`, body);
const calls = async (operation: string): Promise<Item[]> =>
  (await house.shop('GET', `/calls?marketplace=aws&operation=${operation}`)).json.items!;
const queued = async (): Promise<Item[]> => (await house.shop('GET', `/aws/queues/${QUEUE}/messages`)).json.items!;
const message = (action: string, one: Customer, code = LEGACY): string =>
  JSON.stringify({ action, 'customer-identifier': one.customerIdentifier, 'product-code': code });
const post = async (extra: object): Promise<{ status: unknown; code: unknown; message: Record<string, string> }> => {
  const { json } = await house.shop('POST', '/aws/sns/messages', { endpoint: door(), topicArn: TOPIC, ...extra });
  const body = String(json['body'] ?? '');
  const code = body.startsWith('{') ? (JSON.parse(body) as Item)['code'] : null;
  return { status: json['status'], code, message: json['message'] as Record<string, string> };
};
const advance = (seconds: number, stepSeconds = seconds): Promise<unknown> =>
  house.shop('POST', '/clock/advance', { seconds, stepSeconds });
/** Without what the purchases that have ended here bring about in their own time. */
const picture = async (): Promise<object> => {
  const { findings: _, submissions: __, ...rest } = await house.picture();
  return rest;
};
/** Moves the clock five minutes at a time, for as long as an hour and a half. */
const movedUntil = async (id: string, states: string[]): Promise<void> => {
  for (let n = 0; n < 18; n++) {
    await advance(300);
    if (states.includes(String((await house.subscriptionOf(id))?.['state']))) return;
  }
  throw new Error(`${id} never became ${states.join(' or ')}`);
};
const subscribed = async (topicArn: string): Promise<void> => {
  await house.shop('POST', '/aws/sns/subscriptions', { topicArn, endpoint: door() });
  await until(
    async () => (await house.shop('GET', '/aws/sns/subscriptions')).json.items!.find((s) => s['topicArn'] === topicArn),
    (s) => s?.['isConfirmed'] === true,
  );
};

beforeAll(async () => {
  await house.start();
  const { products } = await amazon.settings();
  const old = { dimensions: ['mib_egress', 'mib_hours_stored', 'mib_hours_provisioned'], contract: 'legacy' };
  await amazon.set({
    products: [
      ...products,
      { ...old, code: LEGACY, id: 'prod-harborold', title: 'Old' },
      { ...old, code: CONTRACT, id: 'prod-harborseats', title: 'Seats', pricing: 'contract' },
    ],
    emptyEntitlementPages: 2,
  });
}, 90_000);
afterAll(() => house.stop(), 30_000);

describe('a subscription of our address', () => {
  it('is confirmed by the API with its token, never by opening the SubscribeURL [AW-74]', async () => {
    await subscribed(TOPIC);
    await subscribed(SEATS_TOPIC);
    expect(await calls('subscribeUrl')).toEqual([]);
    expect((await house.list('inbound-events')).filter((e) => e['source'] === 'aws.sns')).toHaveLength(2);
  });

  it('that is not pending in our account is left alone, though the message is genuine [AW-75]', async () => {
    const { status, message } = await post({ type: 'SubscriptionConfirmation', message: 'You have chosen to subscribe' });
    expect(status).toBe(200);
    // It might only not be listed yet.
    await advance(330);
    const stored = await house.stored('aws.sns', message['MessageId']!);
    expect(stored).toMatchObject({ state: 'processed' });
    expect(String(stored['note'])).toContain('no subscription of ours');
    expect(await calls('subscribeUrl')).toEqual([]);
  });
});

describe('an old listing', () => {
  it.each(['1', '2'])('is told by SNS, signed in version %s: bought, landed, served, ended [AW-70, AW-78]', async (snsSignatureVersion) => {
    await amazon.set({ snsSignatureVersion });
    const one = await buy({ pays: true, freeTrial: true });
    await amazon.subscription(idOf(one), 'pending_fulfillment');
    await house.land(sessionOf(await amazon.land(tokenOf(one))), `Old Lodge ${snsSignatureVersion}`);
    expect(await amazon.subscription(idOf(one), 'active')).toMatchObject({ marketplace: 'aws' });
    await act(one, 'unsubscribe');
    expect(
      await until(
        () => house.subscriptionOf(idOf(one)),
        (s) => OVER.includes(String(s['state'])),
      ),
    ).toBeTruthy();
  });

  it('that was left and is bought again is a purchase of its own, with a landing of its own [AW-84]', async () => {
    const one = await buy({ pays: true });
    await amazon.subscription(idOf(one), 'pending_fulfillment');
    await act(one, 'unsubscribe');
    await amazon.subscription(idOf(one), 'voided');
    await act(one, 'subscribe-success');
    await amazon.subscription(`${idOf(one)}:2`, 'pending_fulfillment');
    const again = (await house.shop('POST', `/aws/legacy/customers/${one.customerIdentifier}/register`)).json as unknown as Customer;
    await house.land(sessionOf(await amazon.land(tokenOf(again))), 'Back Again');
    await amazon.subscription(`${idOf(one)}:2`, 'active');
    expect(await house.subscriptionOf(idOf(one))).toMatchObject({ state: 'voided' });
  });

  it('is called off by subscribe-fail, which its landing tells; a later success is a purchase of its own [AW-79]', async () => {
    const one = await buy({ pays: false });
    await amazon.subscription(idOf(one), 'voided');
    const session = sessionOf(await amazon.land(tokenOf(one)));
    const page = await house.call('GET', `${house.controlPlane.url}/landing/api/sessions/${session}`);
    expect(page.json).toMatchObject({ state: 'ended', problem: { code: 'purchase.called_off' } });
    await act(one, 'subscribe-success');
    await amazon.subscription(`${idOf(one)}:2`, 'pending_fulfillment');
    const again = (await house.shop('POST', `/aws/legacy/customers/${one.customerIdentifier}/register`)).json as unknown as Customer;
    await house.land(sessionOf(await amazon.land(tokenOf(again))), 'Late Payer');
    await amazon.subscription(`${idOf(one)}:2`, 'active');
  });
});

describe('what is no message of our topics [AW-70, AW-71, AW-72, AW-73]', () => {
  let live: Customer;
  beforeAll(async () => {
    await amazon.set({ snsSignatureVersion: '1' });
    // What ended above comes to rest first.
    await until(
      () => house.list('subscriptions'),
      (all) => all.every((s) => s['state'] !== 'closing'),
    );
    live = await buy({ pays: true });
    await house.land(sessionOf(await amazon.land(tokenOf(live))), 'Winter Observatory');
    await amazon.subscription(idOf(live), 'active');
  });

  it.each([
    ['no_signature', 400, 'aws.body_not_sns', 'AW-70'],
    ['wrong_key', 403, 'aws.sns_signature', 'AW-70'],
    ['changed_message', 403, 'aws.sns_signature', 'AW-70'],
    ['wrong_version', 403, 'aws.sns_signature', 'AW-70'],
    ['unknown_version', 403, 'aws.sns_signature_version', 'AW-70'],
    ['wrong_topic', 403, 'aws.sns_topic_not_for_us', 'AW-71'],
    ['foreign_topic', 403, 'aws.sns_topic_not_for_us', 'AW-71'],
    ['look_alike_host', 403, 'aws.sns_certificate_url', 'AW-72'],
    ['user_in_host', 403, 'aws.sns_certificate_url', 'AW-72'],
    ['other_place', 403, 'aws.sns_certificate_url', 'AW-72'],
    ['private_address', 403, 'aws.sns_certificate_url', 'AW-72'],
    ['redirect', 403, 'aws.sns_certificate', 'AW-72'],
    ['expired_certificate', 403, 'aws.sns_certificate', 'AW-73'],
    ['foreign_certificate', 403, 'aws.sns_certificate', 'AW-73'],
  ])('(%s) is refused with %i %s, recorded as refused, and changes nothing (%s)', async (forge, status, code) => {
    const before = await picture();
    const answer = await post({ forge, message: message('unsubscribe-pending', live) });
    expect(answer).toMatchObject({ status, code });
    expect(await house.lastRefused()).toMatchObject({ source: 'aws.webhook', code });
    // Nothing is fetched for a topic that is not ours.
    const url = new URL(answer.message['SigningCertURL']!);
    if (forge.endsWith('_topic')) expect((await calls('signingCertificate')).filter((c) => c['path'] === url.pathname)).toEqual([]);
    expect(await picture()).toEqual(before);
  });

  it('is taken once where it is genuine and repeated, also when a queue brings it as well [AW-76]', async () => {
    const MessageId = randomUUID();
    const body = { messageId: MessageId, message: message('subscribe-success', live) };
    const first = await post(body);
    expect(first.status).toBe(200);
    expect((await post(body)).status).toBe(200);
    await house.shop('POST', `/aws/queues/${QUEUE}/messages`, { body: JSON.stringify(first.message) });
    await until(queued, (all) => all.length === 0);
    expect(await house.stored('aws.sns', MessageId)).toMatchObject({ state: 'processed', principal: `sns:${TOPIC}` });
  });
});

describe('a queue', () => {
  it("brings EventBridge's events through to a changed purchase, and is emptied [AW-76]", async () => {
    await amazon.set({ eventTarget: 'sqs' });
    const { licenseId, agreementId } = await amazon.buy();
    await amazon.subscription(licenseId, 'pending_fulfillment');
    await house.shop('POST', `/aws/agreements/${agreementId}/cancel`, {});
    await until(
      () => house.subscriptionOf(licenseId),
      (s) => OVER.includes(String(s['state'])),
    );
    await until(queued, (all) => all.length === 0);
    const events = (await house.list('inbound-events')).filter((e) => String(e['principal']).startsWith('sqs:'));
    expect(events.length).toBeGreaterThanOrEqual(3);
    await amazon.set({ eventTarget: 'api_destination' });
  });

  it('keeps what is no event of ours: nothing is stored and nothing deleted [AW-77]', async () => {
    const before = (await house.list('inbound-events')).length;
    await house.shop('POST', `/aws/queues/${QUEUE}/messages`, {
      body: JSON.stringify({ id: randomUUID(), source: 'aws.s3', 'detail-type': 'x' }),
    });
    const [kept] = await until(queued, (all) => all.length === 1 && Number(all[0]!['receives']) > 0);
    expect(kept!['isVisible']).toBe(false);
    expect((await house.list('inbound-events')).length).toBe(before);
  });
});

describe('a contract of an old listing', () => {
  const bought = async (extra: object = {}): Promise<Customer> =>
    buy({ productCode: CONTRACT, entitlements: [{ dimension: 'seats', value: 5, ...extra }] });

  it('is read over empty pages; its dimension is the quantity, and a change is followed [AW-80]', async () => {
    const one = await bought();
    expect(await amazon.subscription(idOf(one, CONTRACT), 'pending_fulfillment')).toMatchObject({ quantity: 5 });
    await act(one, 'entitle', { dimension: 'seats', value: 7 });
    await until(
      () => house.subscriptionOf(idOf(one, CONTRACT)),
      (s) => s['quantity'] === 7,
    );
  });

  it('that is told before the service shows it is asked for again, and ends only when it stays empty [AW-81]', async () => {
    const one = await bought({ lagSeconds: 700 });
    const id = idOf(one, CONTRACT);
    await until(
      () => calls('getEntitlements'),
      (all) => JSON.stringify(all).includes(one.customerIdentifier),
    );
    expect(await house.subscriptionOf(id)).toBeUndefined();
    await movedUntil(id, ['pending_fulfillment']);
    await act(one, 'end-contract');
    await advance(600, 300);
    expect(await house.subscriptionOf(id)).toMatchObject({ state: 'pending_fulfillment' });
    await movedUntil(id, OVER);
  });
});

describe('a registration token', () => {
  it('is resolved at once, and stands in no cookie, no header, no address and no page [AW-82]', async () => {
    const one = await amazon.buy();
    const token = tokenOf(one);
    const before = (await calls('resolveCustomer')).length;
    const landed = await house.call('POST', `${house.controlPlane.url}/landing/aws`, new URLSearchParams({ [FIELD]: token }));
    expect(landed.status).toBe(303);
    expect((await calls('resolveCustomer')).length).toBe(before + 1);
    const answers = [landed];
    const session = sessionOf(landed.headers.get('location') ?? '');
    for (const path of [landed.headers.get('location')!, `/landing/api/sessions/${session}`])
      answers.push(await house.call('GET', house.controlPlane.url + path));
    for (const { headers, text } of answers) {
      expect(headers.get('set-cookie')).toBeNull();
      const all = `${JSON.stringify([...headers])}${text}`;
      for (const spelling of [token, encodeURIComponent(token), token.slice(0, 24)]) expect(all).not.toContain(spelling);
    }
  });
});

describe('berth doctor aws', () => {
  it('reaches topics, queue and entitlements through its own list of hosts, and names our addresses [AW-86]', async () => {
    const { banner } = await startProgram('apps/control-plane/src/doctor/program.js', ['aws', '5000'], house.environment());
    const [{ checks }] = banner['reports'] as [{ checks: { check: string; result: string; detail: string }[] }];
    const results = Object.fromEntries(checks.map((one) => [one.check, one.result]));
    expect(results).toMatchObject({
      [`aws.topic.${TOPIC.split(':').pop()}`]: 'pass',
      [`aws.topic.${SEATS_TOPIC.split(':').pop()}`]: 'pass',
      // It answers, and has no dead-letter queue here.
      [`aws.queue.${QUEUE}`]: 'warn',
      [`aws.entitlements.${CONTRACT}`]: 'pass',
    });
    expect(checks.find((one) => one.check === 'aws.addresses')!.detail).toContain('/webhooks/aws/sns');
  });
});
