import { describe, expect, it } from 'vitest';
import { MarketplaceBusy, MarketplaceRefusal } from '#marketplaces/core';
import { ManualClock } from '#platform/testing';
import type { AwsClients } from '../clients.js';
import { type NormaliseDeps, normaliseStored } from '../normalise-stored.js';
import { awsSettingsSchema } from '../settings.js';
import { snsHandshake } from './confirm.js';

const TOPIC = 'arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification-4example';
const T0 = new Date('2026-11-20T10:00:00Z');
const settings = awsSettingsSchema.parse({
  productCodes: ['p'],
  region: 'us-east-1',
  webhookSecret: 'a-secret-of-the-test',
  sns: { topics: [TOPIC] },
});
const stored = (Type: string) => ({
  source: 'aws.sns',
  naturalKey: 'm-1',
  headers: {},
  receivedAt: T0,
  body: JSON.stringify({
    Type,
    MessageId: 'm-1',
    TopicArn: TOPIC,
    Message: 'You have chosen',
    Timestamp: T0,
    SignatureVersion: '2',
    Signature: 's',
    SigningCertURL: 'https://sns.us-east-1.amazonaws.com/x.pem',
    Token: 't-1',
    SubscribeURL: 'https://sns.us-east-1.amazonaws.com/?Action=x',
  }),
});
const pending = { TopicArn: TOPIC, SubscriptionArn: 'PendingConfirmation', Protocol: 'https', Endpoint: 'https://x.test' };

/** SNS as it answers to ListSubscriptions, and the clock. */
function bench(list: () => Promise<object>) {
  const clock = new ManualClock(T0);
  const asked: string[] = [];
  const send = (command: { constructor: { name: string } }) => {
    asked.push(command.constructor.name);
    return command.constructor.name === 'ListSubscriptionsCommand' ? list() : Promise.resolve({ SubscriptionArn: `${TOPIC}:1` });
  };
  const clients = { sns: () => ({ send }) } as unknown as AwsClients;
  return { clock, asked, run: () => snsHandshake(stored('SubscriptionConfirmation'), { settings, clients, clock })!.run() };
}

describe('the confirmation of a subscription', () => {
  it('that is not listed yet is looked for during five minutes, and confirmed as soon as it is there [AW-126]', async () => {
    let listed: object[] = [];
    const { clock, asked, run } = bench(() => Promise.resolve({ Subscriptions: listed }));
    await expect(run()).rejects.toMatchObject({ retryAfterMs: 30_000 });
    clock.advance(4 * 60_000);
    await expect(run()).rejects.toBeInstanceOf(MarketplaceBusy);
    listed = [pending];
    expect(await run()).toEqual({ subscriptionArn: `${TOPIC}:1` });
    expect(asked.filter((name) => name === 'ConfirmSubscriptionCommand')).toHaveLength(1);
  });

  it('that is never listed is a stranger’s, and left alone [AW-75]', async () => {
    const { clock, asked, run } = bench(() => Promise.resolve({ Subscriptions: [] }));
    clock.advance(5 * 60_000);
    await expect(run()).rejects.toMatchObject({ code: 'aws.sns_not_pending' });
    expect(asked).toEqual(['ListSubscriptionsCommand']);
  });

  it('for which our credentials do not suffice says that it is about those [AW-126]', async () => {
    const denied = Object.assign(new Error('no'), {
      name: 'AuthorizationErrorException',
      $fault: 'client',
      $metadata: { httpStatusCode: 403 },
    });
    const { run } = bench(() => Promise.reject(denied));
    await expect(run()).rejects.toBeInstanceOf(MarketplaceRefusal);
    await expect(run()).rejects.toMatchObject({ httpStatus: 403 });
  });

  it('is no fact of a purchase; that the subscription was taken away is one for people [AW-127]', async () => {
    const deps = { settings, clock: new ManualClock(T0) } as unknown as NormaliseDeps;
    expect(await normaliseStored(stored('SubscriptionConfirmation'), deps)).toEqual([]);
    expect(await normaliseStored(stored('UnsubscribeConfirmation'), deps)).toMatchObject([
      { kind: 'noted', truth: null, channelLost: { channel: TOPIC } },
    ]);
  });
});
