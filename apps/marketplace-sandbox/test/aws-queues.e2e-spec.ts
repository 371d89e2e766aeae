import { fromTemporaryCredentials } from '@aws-sdk/credential-providers';
import { MarketplaceMeteringClient, BatchMeterUsageCommand } from '@aws-sdk/client-marketplace-metering';
import { GetEntitlementsCommand } from '@aws-sdk/client-marketplace-entitlement-service';
import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
} from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AwsBench, nameOf, OTHER_PRODUCT, PRODUCT } from './support/aws.js';
import { channelBench, CONTRACT, CREDENTIALS, entitlement, entitlements, legacyAct, legacyBuy, sqs } from './support/channels.js';
import { call, eventually } from './support/harness.js';

let bench: AwsBench;
let QueueUrl: string;
beforeAll(async () => {
  bench = await channelBench({
    queues: [
      { name: 'marketplace-events', visibilitySeconds: 30 },
      { name: 'short', visibilitySeconds: 30, maxReceives: 2 },
    ],
  });
  QueueUrl = (await bench.sandbox.control('/aws/queues/short/messages')).json.url as string;
});
afterAll(() => bench.stop());

describe('a queue as the real SDK reads it (contract aws §4.1, §6)', () => {
  const receive = async (more: object = {}) => (await sqs(bench).send(new ReceiveMessageCommand({ QueueUrl, ...more }))).Messages ?? [];
  const put = (body: string) => bench.sandbox.control('/aws/queues/short/messages', { body: { body } });
  const items = async () => (await bench.sandbox.control('/aws/queues/short/messages')).json.items as { body: string; receives: number }[];

  it('hides what it hands out until the time is over, and forgets it only when it is deleted', async () => {
    await put('one');
    const [first] = await receive();
    expect(first).toMatchObject({ Body: 'one' });
    expect(await receive()).toEqual([]);
    await sqs(bench).send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: first!.ReceiptHandle, VisibilityTimeout: 0 }));
    const [second] = await receive();
    expect(second!.MessageId).toBe(first!.MessageId);
    // The old receipt is worth nothing any more.
    await sqs(bench).send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: first!.ReceiptHandle }));
    expect(await items()).toHaveLength(1);
    await sqs(bench).send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: second!.ReceiptHandle }));
    expect(await items()).toEqual([]);
  });

  it('waits for a message as long as it is asked to, and takes it aside after as many attempts as it is told', async () => {
    const waiting = receive({ WaitTimeSeconds: 10, VisibilityTimeout: 0 });
    await put('two');
    expect((await waiting).map((m) => m.Body)).toEqual(['two']);
    expect(await receive({ VisibilityTimeout: 0 })).toHaveLength(1);
    expect(await receive()).toEqual([]);
    expect((await bench.sandbox.control('/aws/queues/short-dlq/messages')).json.items).toMatchObject([{ body: 'two', receives: 2 }]);
    const { Attributes } = await sqs(bench).send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] }));
    expect(JSON.parse(Attributes!['RedrivePolicy']!)).toMatchObject({ maxReceiveCount: 2 });
  });

  it('refuses wrong keys and queues that are not there, in JSON 1.0', async () => {
    expect(await nameOf(sqs(bench, { ...CREDENTIALS, secretAccessKey: 'x' }).send(new ReceiveMessageCommand({ QueueUrl })))).toBe(
      'InvalidSignatureException',
    );
    expect(await nameOf(sqs(bench).send(new ReceiveMessageCommand({ QueueUrl: `${QueueUrl}x` })))).toBe('QueueDoesNotExist');
    const raw = await call(`${bench.sandbox.url}/aws/sqs`, {
      text: '{}',
      headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': 'AmazonSQS.ReceiveMessage' },
    });
    expect([raw.status, raw.json.__type, raw.headers.get('content-type')?.split(';')[0]]).toEqual([
      400,
      'MissingAuthenticationTokenException',
      'application/x-amz-json-1.0',
    ]);
  });

  it("gets the bus's events where the rule leads to it, whole and unsigned", async () => {
    await bench.settings({ eventTarget: 'sqs' });
    const bought = await bench.buy();
    const url = (await bench.sandbox.control('/aws/queues/marketplace-events/messages')).json.url as string;
    const got: string[] = [];
    await eventually(async () => {
      const answer = await sqs(bench).send(new ReceiveMessageCommand({ QueueUrl: url, MaxNumberOfMessages: 10 }));
      got.push(...(answer.Messages ?? []).map((m) => m.Body!));
      return got.length >= 2;
    });
    expect(got.map((body) => (JSON.parse(body) as { detail: { agreement: { id: string } } }).detail.agreement.id)).toEqual([
      bought.agreementId,
      bought.agreementId,
    ]);
    await bench.settings({ eventTarget: 'api_destination' });
  });
});

describe('the role of the seller (contract aws §10: seller account ≠ runtime account)', () => {
  const RoleArn = 'arn:aws:iam::999900001111:role/berth-marketplace';
  const runtime = { accessKeyId: 'AKIARUNTIME000000000', secretAccessKey: 'runtime-secret' };
  const assumed = (over: { masterCredentials?: typeof runtime; ExternalId?: string; RoleArn?: string } = {}) =>
    fromTemporaryCredentials({
      masterCredentials: over.masterCredentials ?? runtime,
      params: { RoleArn: over.RoleArn ?? RoleArn, RoleSessionName: 'berth', ExternalId: over.ExternalId ?? 'harbor-external' },
      clientConfig: { region: 'us-east-1', endpoint: `${bench.sandbox.url}/aws/sts`, maxAttempts: 1 },
    });
  beforeAll(() =>
    bench.settings({
      credentials: [CREDENTIALS, { ...runtime, accountId: '555500005555' }],
      roles: [{ arn: RoleArn, externalId: 'harbor-external', trusted: [runtime.accessKeyId] }],
    }),
  );

  it('is lent to the one key that it trusts, with the right external id, and then is the seller', async () => {
    const direct = bench.client(runtime);
    const bought = await bench.buy();
    const token = bought.registration.fields['x-amzn-marketplace-token']!;
    expect(await nameOf(bench.resolve(token, direct))).toBe('InvalidTokenException');
    const credentials = await assumed()();
    expect(credentials.accessKeyId).toMatch(/^ASIA/);
    expect(credentials.expiration!.getTime()).toBeGreaterThan(Date.now() + 600_000);
    const seller = new MarketplaceMeteringClient({
      region: 'us-east-1',
      endpoint: `${bench.sandbox.url}/aws/metering/`,
      credentials,
      maxAttempts: 1,
    });
    expect((await bench.resolve(token, seller)).LicenseArn).toBe(bought.licenseArn);
    // Keys for a time count only with their token.
    const { sessionToken: _, ...bare } = credentials;
    const without = new MarketplaceMeteringClient({
      region: 'us-east-1',
      endpoint: `${bench.sandbox.url}/aws/metering/`,
      credentials: bare,
      maxAttempts: 1,
    });
    expect(await nameOf(without.send(new BatchMeterUsageCommand({ UsageRecords: [] })))).toBe('UnrecognizedClientException');
  });

  it.each<[string, Parameters<typeof assumed>[0]]>([
    ['another external id', { ExternalId: 'guessed' }],
    ['a key that it does not trust', { masterCredentials: CREDENTIALS }],
    ['a role that is not there', { RoleArn: `${RoleArn}x` }],
  ])('is refused to %s', async (_what, over) => {
    expect(await nameOf(assumed(over)())).toBe('AccessDenied');
  });
});

describe('GetEntitlements (contract aws §3)', () => {
  it('answers pages of which some are empty and still carry NextToken', async () => {
    await bench.settings({ emptyEntitlementPages: 2 });
    const bought = await bench.buy();
    for (const dimension of ['a', 'b', 'c']) await bench.act(bought.agreementId, 'entitle', { dimension, value: 1 });
    const Filter = { LICENSE_ARN: [bought.licenseArn] };
    const sizes: number[] = [];
    let NextToken: string | undefined;
    do {
      const page = await entitlements(bench, PRODUCT, Filter, { MaxResults: 2, NextToken });
      sizes.push(page.Entitlements!.length);
      NextToken = page.NextToken;
    } while (NextToken);
    expect(sizes).toEqual([0, 0, 2, 1]);
    await bench.settings({ emptyEntitlementPages: 0 });
  });

  it('keeps licences, customers and products apart; values of every kind, dates as epoch seconds', async () => {
    const [one, two] = [await bench.buy(), await bench.buy()];
    await bench.act(one.agreementId, 'entitle', {
      dimension: 'nodes',
      value: 5,
      expiresAt: new Date((await bench.sandbox.now()) + 86_400_000).toISOString(),
    });
    await bench.act(two.agreementId, 'entitle', { dimension: 'nodes', value: 2.5 });
    const of = async (filter: Record<string, string[]>, product = PRODUCT) =>
      (await entitlements(bench, product, filter)).Entitlements!.map((e) => [e.LicenseArn, e.Value]);
    expect(await of({ LICENSE_ARN: [one.licenseArn] })).toEqual([[one.licenseArn, { IntegerValue: 5 }]]);
    // One buyer with two agreements: by account they are mixed up.
    expect((await of({ CUSTOMER_AWS_ACCOUNT_ID: [one.accountId], DIMENSION: ['nodes'] })).length).toBe(2);
    expect(await of({ LICENSE_ARN: [one.licenseArn] }, OTHER_PRODUCT)).toEqual([]);
    expect((await entitlements(bench, PRODUCT, { LICENSE_ARN: [one.licenseArn] })).Entitlements![0]!.ExpirationDate).toBeInstanceOf(Date);
    const spelling = `aws:license-manager:us-east-1:294400000000:${one.licenseId}`;
    expect(await nameOf(of({ LICENSE_ARN: [spelling] }))).toBe('InvalidParameterException');
    expect(await nameOf(of({ CUSTOMER_IDENTIFIER: ['x'], CUSTOMER_AWS_ACCOUNT_ID: [one.accountId] }))).toBe('InvalidParameterException');
    expect(await nameOf(entitlements(bench, PRODUCT, {}, { MaxResults: 26 }))).toBe('InvalidParameterException');
    expect(await nameOf(entitlement(bench, 'eu-west-1').send(new GetEntitlementsCommand({ ProductCode: PRODUCT })))).toBe(
      'UnknownOperationException',
    );
  });

  it('lags behind its own notification, and is empty once the contract is over', async () => {
    const { customerIdentifier } = await legacyBuy(bench, {
      productCode: CONTRACT,
      entitlements: [{ dimension: 'seats', value: 5, lagSeconds: 600 }],
    });
    const seats = async () =>
      (await entitlements(bench, CONTRACT, { CUSTOMER_IDENTIFIER: [customerIdentifier] })).Entitlements!.map((e) => e.Value);
    expect(await seats()).toEqual([]);
    await bench.sandbox.advance(601);
    expect(await seats()).toEqual([{ IntegerValue: 5 }]);
    await legacyAct(bench, customerIdentifier, 'end-contract');
    expect(await seats()).toEqual([]);
  });
});
