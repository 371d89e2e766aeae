import {
  GetEntitlementsCommand,
  type GetEntitlementsCommandOutput,
  MarketplaceEntitlementServiceClient,
} from '@aws-sdk/client-marketplace-entitlement-service';
import { SNSClient } from '@aws-sdk/client-sns';
import { SQSClient } from '@aws-sdk/client-sqs';
import { createVerify, X509Certificate } from 'node:crypto';
import { AwsBench } from './aws.js';
import { call } from './harness.js';

export const LEGACY = '4harborlegacy000000000000';
export const CONTRACT = '4harborcontract0000000000';
export const CREDENTIALS = { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'sandbox-only-not-a-secret' };
export const topicOf = (kind: 'subscription' | 'entitlement', code: string): string =>
  `arn:aws:sns:us-east-1:287250355862:aws-mp-${kind}-notification-${code}`;

export interface LegacyBought {
  customerIdentifier: string;
  accountId: string;
  offerId: string;
  registration: { fields: Record<string, string> };
}

/** A sandbox with legacy listings of two kinds beside the others. */
export async function channelBench(settings: object = {}): Promise<AwsBench> {
  const bench = await AwsBench.start();
  const products = (await bench.sandbox.control('/settings')).json.aws.products as object[];
  await bench.settings({
    products: [
      ...products,
      { code: LEGACY, id: 'prod-harborlegacy', title: 'Old', dimensions: ['mib_egress'], contract: 'legacy' },
      { code: CONTRACT, id: 'prod-harborcontract', title: 'Seats', dimensions: ['seats'], contract: 'legacy', pricing: 'contract' },
    ],
    ...settings,
  });
  return bench;
}

type Keys = { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
const common = (bench: AwsBench, service: string, credentials: Keys) => ({
  region: 'us-east-1',
  endpoint: `${bench.sandbox.url}/aws/${service}`,
  maxAttempts: 1,
  credentials,
});
export const sqs = (bench: AwsBench, keys: Keys = CREDENTIALS): SQSClient => new SQSClient(common(bench, 'sqs', keys));
export const sns = (bench: AwsBench, keys: Keys = CREDENTIALS): SNSClient => new SNSClient(common(bench, 'sns', keys));
export const entitlement = (bench: AwsBench, region = 'us-east-1', keys: Keys = CREDENTIALS): MarketplaceEntitlementServiceClient =>
  new MarketplaceEntitlementServiceClient({ ...common(bench, 'entitlement', keys), region });

export const entitlements = (
  bench: AwsBench,
  ProductCode: string,
  Filter: Record<string, string[]>,
  more: object = {},
): Promise<GetEntitlementsCommandOutput> => entitlement(bench).send(new GetEntitlementsCommand({ ProductCode, Filter, ...more } as never));

export async function legacyBuy(bench: AwsBench, extra: object = {}): Promise<LegacyBought> {
  const answer = await bench.sandbox.control('/aws/legacy/purchases', { body: { productCode: LEGACY, ...extra } });
  if (answer.status !== 201) throw new Error(answer.text);
  return answer.json as LegacyBought;
}

export const legacyAct = async (bench: AwsBench, id: string, action: string, body: object = {}): Promise<void> => {
  const answer = await bench.sandbox.control(`/aws/legacy/customers/${id}/${action}`, { body });
  if (answer.status !== 202) throw new Error(answer.text);
};

/** Checks a message as the contract describes it, with nothing of the sandbox's (contract aws §4.2). */
export async function isGenuine(message: Record<string, string>): Promise<boolean> {
  const names =
    message['Type'] === 'Notification'
      ? ['Message', 'MessageId', 'Subject', 'Timestamp', 'TopicArn', 'Type']
      : ['Message', 'MessageId', 'SubscribeURL', 'Timestamp', 'Token', 'TopicArn', 'Type'];
  const text = names.filter((name) => message[name] !== undefined).map((name) => `${name}\n${message[name]}\n`);
  const certificate = new X509Certificate((await call(message['SigningCertURL']!)).text);
  const algorithm = { '1': 'RSA-SHA1', '2': 'RSA-SHA256' }[message['SignatureVersion']!]!;
  return createVerify(algorithm).update(text.join('')).verify(certificate.publicKey, message['Signature']!, 'base64');
}
