import { ConfirmSubscriptionCommand, ListSubscriptionsCommand, SubscribeCommand } from '@aws-sdk/client-sns';
import { BatchMeterUsageCommand } from '@aws-sdk/client-marketplace-metering';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AwsBench, nameOf, PRODUCT } from './support/aws.js';
import { channelBench, CONTRACT, isGenuine, LEGACY, legacyAct, legacyBuy, sns, topicOf } from './support/channels.js';
import { call, eventually, HOUR } from './support/harness.js';
import type { Received } from './support/receiver.js';

let bench: AwsBench;
const TOPIC = topicOf('subscription', LEGACY);
const endpoint = (): string => `${bench.receiverUrl}/sns`;
beforeAll(async () => {
  bench = await channelBench({
    credentials: [
      { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'sandbox-only-not-a-secret' },
      { accessKeyId: 'AKIAFOREIGN0000000000', secretAccessKey: 'other', accountId: '666600006666' },
    ],
  });
});
afterAll(() => bench.stop());

const messages = (type: string): Received[] => bench.receiver.received.filter((one) => one.headers['x-amz-sns-message-type'] === type);
const toldOf = (id: string): Record<string, string>[] =>
  messages('Notification')
    .map((one) => JSON.parse(JSON.parse(one.text).Message) as Record<string, string>)
    .filter((one) => one['customer-identifier']?.trim() === id);
const told = (id: string, many: number): Promise<Record<string, string>[]> => eventually(() => toldOf(id).length >= many && toldOf(id));

describe('topics (contract aws §4.2)', () => {
  it('lets the seller account subscribe and nobody else, and posts text/plain JSON that asks for confirmation', async () => {
    const foreign = sns(bench, { accessKeyId: 'AKIAFOREIGN0000000000', secretAccessKey: 'other' });
    const subscribe = new SubscribeCommand({ TopicArn: TOPIC, Protocol: 'http', Endpoint: endpoint() });
    expect(await nameOf(foreign.send(subscribe))).toBe('AuthorizationErrorException');
    expect(await nameOf(sns(bench, { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'x' }).send(subscribe))).toBe(
      'SignatureDoesNotMatch',
    );
    expect((await sns(bench).send(subscribe)).SubscriptionArn).toBe('pending confirmation');
    const [asked] = await eventually(() => messages('SubscriptionConfirmation').length > 0 && messages('SubscriptionConfirmation'));
    expect(asked!.headers['content-type']).toContain('text/plain');
    const message = JSON.parse(asked!.text) as Record<string, string>;
    expect(message).toMatchObject({ Type: 'SubscriptionConfirmation', TopicArn: TOPIC, SignatureVersion: '1' });
    expect(message['SubscribeURL']).toContain('Action=ConfirmSubscription');
    expect(await isGenuine(message)).toBe(true);
    expect(await isGenuine({ ...message, Token: `${message['Token']}0` })).toBe(false);
  });

  it('sends nothing until the subscription is confirmed by its own token, and lists it as pending until then', async () => {
    const silent = await legacyBuy(bench, { pays: true });
    const arns = async (): Promise<unknown> =>
      (await sns(bench).send(new ListSubscriptionsCommand({}))).Subscriptions?.map((s) => s.SubscriptionArn);
    expect(await arns()).toEqual(['PendingConfirmation']);
    const confirm = (Token: string) => sns(bench).send(new ConfirmSubscriptionCommand({ TopicArn: TOPIC, Token }));
    expect(await nameOf(confirm('0'.repeat(96)))).toBe('InvalidParameterException');
    const arn = (await confirm(JSON.parse(messages('SubscriptionConfirmation')[0]!.text).Token as string)).SubscriptionArn;
    expect(arn).toContain(`${TOPIC}:`);
    expect(await arns()).toEqual([arn]);
    expect(toldOf(silent.customerIdentifier)).toEqual([]);
  });

  it.each(['1', '2'])('signs notifications in version %s, with a certificate below its own address', async (snsSignatureVersion) => {
    await bench.settings({ snsSignatureVersion });
    const { customerIdentifier, offerId } = await legacyBuy(bench, { pays: true, freeTrial: snsSignatureVersion === '2' });
    expect(await told(customerIdentifier, 1)).toEqual([
      {
        action: 'subscribe-success',
        'customer-identifier': customerIdentifier,
        'product-code': LEGACY,
        'offer-identifier': offerId,
        // The string, not a boolean.
        isFreeTrialTermPresent: String(snsSignatureVersion === '2'),
      },
    ]);
    const message = JSON.parse(messages('Notification').at(-1)!.text) as Record<string, string>;
    expect(message['SignatureVersion']).toBe(snsSignatureVersion);
    expect(message['SigningCertURL']).toMatch(new RegExp(`^${bench.sandbox.url}/aws/sns/SimpleNotificationService-[0-9a-f]{32}\\.pem$`));
    expect(await isGenuine(message)).toBe(true);
    expect(await isGenuine({ ...message, Message: message['Message']!.replace('success', 'fail') })).toBe(false);
  });

  it('sends a notification again where it was answered 5xx, and one that is doubled twice with one MessageId', async () => {
    let first = true;
    bench.receiver.answering = () => (first ? ((first = false), { status: 503 }) : { status: 200 });
    await bench.fault('Notification', 'duplicate_webhook');
    const { customerIdentifier } = await legacyBuy(bench, { pays: true });
    // Refused, taken, and doubled.
    await told(customerIdentifier, 3);
    const ids = messages('Notification')
      .map((one) => JSON.parse(one.text) as Record<string, string>)
      .filter((one) => one['Message']!.includes(customerIdentifier))
      .map((one) => one['MessageId']);
    expect(new Set(ids).size).toBe(1);
  });

  it.each([
    ['no_signature', (m: Record<string, string>) => expect(m['Signature']).toBeUndefined()],
    ['look_alike_host', (m: Record<string, string>) => expect(m['SigningCertURL']).toContain('amazonaws.com.evil.example/')],
    ['wrong_topic', (m: Record<string, string>) => expect(m['TopicArn']).toBe(`${TOPIC}x`)],
    ['redirect', async (m: Record<string, string>) => expect((await fetch(m['SigningCertURL']!, { redirect: 'manual' })).status).toBe(302)],
    ['other_place', async (m: Record<string, string>) => expect(await isGenuine(m)).toBe(true)],
    ['changed_message', async (m: Record<string, string>) => expect(await isGenuine(m)).toBe(false)],
    ['wrong_key', async (m: Record<string, string>) => expect(await isGenuine(m)).toBe(false)],
    ['expired_certificate', async (m: Record<string, string>) => expect(await isGenuine(m)).toBe(true)],
    ['foreign_certificate', async (m: Record<string, string>) => expect(await isGenuine(m)).toBe(true)],
  ])('forges a message that is wrong in one thing only: %s', async (forge, check) => {
    const answer = await bench.sandbox.control('/aws/sns/messages', {
      body: { endpoint: endpoint(), topicArn: TOPIC, message: '{}', forge },
    });
    expect(answer.json.status).toBe(200);
    await check(answer.json.message as Record<string, string>);
  });
});

describe('legacy listings (contract aws §0.3, §2, §4.2, §5)', () => {
  it('resolves to a customer identifier without a licence', async () => {
    const bought = await legacyBuy(bench);
    const resolved = await bench.resolve(bought.registration.fields['x-amzn-marketplace-token']!);
    expect(resolved).toMatchObject({
      ProductCode: LEGACY,
      CustomerIdentifier: bought.customerIdentifier,
      CustomerAWSAccountId: bought.accountId,
    });
    expect(resolved.LicenseArn).toBeUndefined();
  });

  it('is metered by product code and customer identifier, never with a licence, and only while subscribed', async () => {
    const bought = await legacyBuy(bench, { pays: true });
    const ca = await bench.buy();
    const hour = new Date(Math.floor((await bench.sandbox.now()) / HOUR - 1) * HOUR);
    const record = { Timestamp: hour, CustomerIdentifier: bought.customerIdentifier, Dimension: 'mib_egress', Quantity: 3 };
    const send = (records: object[], ProductCode: string | undefined = LEGACY) =>
      bench.client().send(new BatchMeterUsageCommand({ ProductCode, UsageRecords: records as never }));
    expect((await send([record])).Results?.[0]?.Status).toBe('Success');
    expect((await send([{ ...record, Quantity: 4 }])).Results?.[0]?.Status).toBe('DuplicateRecord');
    expect((await send([{ ...record, CustomerIdentifier: 'nobodyXXXXX' }])).Results?.[0]?.Status).toBe('CustomerNotSubscribed');
    expect(await nameOf(send([{ ...record, CustomerIdentifier: undefined, LicenseArn: ca.licenseArn }]))).toBe(
      'InvalidProductCodeException',
    );
    expect(await nameOf(send([{ ...record, CustomerAWSAccountId: bought.accountId }]))).toBe('InvalidCustomerIdentifierException');
    expect(await nameOf(send([record], PRODUCT))).toBe('InvalidProductCodeException');
    const failed = await legacyBuy(bench, { pays: false });
    expect((await send([{ ...record, CustomerIdentifier: failed.customerIdentifier }])).Results?.[0]?.Status).toBe('CustomerNotSubscribed');
    expect((await bench.sandbox.control(`/billed?marketplace=aws&externalId=${bought.customerIdentifier}`)).json.items).toHaveLength(1);
  });

  it('leaves one hour after unsubscribe-pending; a customer who comes back within it is never told unsubscribe-success', async () => {
    const [gone, back] = [await legacyBuy(bench, { pays: true }), await legacyBuy(bench, { pays: true })];
    for (const one of [gone, back]) await legacyAct(bench, one.customerIdentifier, 'unsubscribe');
    await bench.sandbox.advance(1_800);
    await legacyAct(bench, back.customerIdentifier, 'subscribe-success');
    await bench.sandbox.advance(1_900);
    expect((await told(gone.customerIdentifier, 3)).map((one) => one['action'])).toEqual([
      'subscribe-success',
      'unsubscribe-pending',
      'unsubscribe-success',
    ]);
    const again = await told(back.customerIdentifier, 3);
    expect(again.map((one) => one['action'])).toEqual(['subscribe-success', 'unsubscribe-pending', 'subscribe-success']);
    // With a new offer id.
    expect(again[2]!['offer-identifier']).not.toBe(back.offerId);
  });

  it('with a contract has the entitlement topic alone, whose message says no more than that something changed', async () => {
    const subscribe = (TopicArn: string) =>
      sns(bench).send(new SubscribeCommand({ TopicArn, Protocol: 'sqs', Endpoint: 'marketplace-events' }));
    expect(await nameOf(subscribe(topicOf('subscription', CONTRACT)))).toBe('NotFoundException');
    expect((await subscribe(topicOf('entitlement', CONTRACT))).SubscriptionArn).toContain(':aws-mp-entitlement-notification-');
    const { customerIdentifier } = await legacyBuy(bench, { productCode: CONTRACT, entitlements: [{ dimension: 'seats', value: 5 }] });
    await legacyAct(bench, customerIdentifier, 'end-contract');
    const queued = async () =>
      (await call(`${bench.sandbox.url}/sandbox/aws/queues/marketplace-events/messages`)).json.items as { body: string }[];
    const items = await eventually(async () => (await queued()).length === 2 && (await queued()));
    const inner = items.map((one) => JSON.parse((JSON.parse(one.body) as { Message: string }).Message) as unknown);
    // The docs' own sample has the blank.
    const same = { action: 'entitlement-updated', 'customer-identifier': ` ${customerIdentifier}`, 'product-code': CONTRACT };
    expect(inner).toEqual([same, same]);
  });
});
