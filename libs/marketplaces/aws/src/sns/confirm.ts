import { ConfirmSubscriptionCommand, ListSubscriptionsCommand, type SNSClient } from '@aws-sdk/client-sns';
import { type Handshake, MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, type StoredInbound } from '#marketplaces/core';
import type { Logger } from '#platform';
import { codeOf, failureOf, timed } from '../api.js';
import type { AwsClients } from '../clients.js';
import { topicRegionOf } from '../topic-arn.js';
import type { AwsSettings } from '../settings.js';
import { snsMessageOf } from './message.js';
import { SNS_SOURCE } from './verify.js';

const MAX_PAGES = 50;
const PENDING = 'PendingConfirmation';

/**
 * Confirms a subscription by the API with its token; the SubscribeURL is never fetched (contract aws §4.2). Only one that this
 * account has pending for an allow-listed topic: a stranger's subscription of our address stays unconfirmed. Repeating it is safe.
 */
export function snsHandshake(message: StoredInbound, settings: AwsSettings, clients: AwsClients, logger?: Logger): Handshake | null {
  if (message.source !== SNS_SOURCE) return null;
  const sns = snsMessageOf(message.body);
  const region = sns && settings.sns?.topics.includes(sns.topicArn) ? topicRegionOf(sns.topicArn) : null;
  if (!sns || sns.type !== 'SubscriptionConfirmation' || !sns.token || !region) return null;
  const { topicArn, token } = sns;
  return {
    operation: 'confirmSubscription',
    intent: { topicArn },
    run: async () => {
      const client = clients.sns(region);
      const call = <T>(operation: string, work: (abortSignal: AbortSignal) => Promise<T>): Promise<T> =>
        timed(logger, operation, settings.timeoutsMs.read, work).catch((error: unknown) => {
          const { sort, name, message: why } = failureOf(error);
          if (sort === 'busy') throw new MarketplaceBusy(`${operation}: ${name}: ${why}`);
          if (sort === 'unknown') throw new MarketplaceUnknown(`${operation}: ${name}: ${why}`);
          throw new MarketplaceRefusal(codeOf(name), `${operation}: ${why}`);
        });
      const isPending = await hasPending(client, topicArn, settings.sns!.subscriptionUrl, call);
      if (!isPending) throw new MarketplaceRefusal('aws.sns_not_pending', `no subscription of ours to ${topicArn} waits for confirmation`);
      const answer = await call('confirmSubscription', (abortSignal) =>
        client.send(new ConfirmSubscriptionCommand({ TopicArn: topicArn, Token: token }), { abortSignal }),
      );
      return { subscriptionArn: answer.SubscriptionArn ?? null };
    },
  };
}

async function hasPending(
  client: SNSClient,
  topicArn: string,
  ourUrl: string | null,
  call: <T>(operation: string, work: (abortSignal: AbortSignal) => Promise<T>) => Promise<T>,
): Promise<boolean> {
  let NextToken: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const answer = await call('listSubscriptions', (abortSignal) =>
      client.send(new ListSubscriptionsCommand(NextToken ? { NextToken } : {}), { abortSignal }),
    );
    const found = (answer.Subscriptions ?? []).some(
      (one) =>
        one.TopicArn === topicArn &&
        one.SubscriptionArn === PENDING &&
        /^https?$/.test(one.Protocol ?? '') &&
        (ourUrl === null || one.Endpoint === ourUrl),
    );
    if (found) return true;
    NextToken = answer.NextToken;
    if (!NextToken) return false;
  }
  return false;
}
