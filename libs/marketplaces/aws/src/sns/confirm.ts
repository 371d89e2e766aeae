import { ConfirmSubscriptionCommand, ListSubscriptionsCommand, type SNSClient } from '@aws-sdk/client-sns';
import { type Handshake, MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, type StoredInbound } from '#marketplaces/core';
import type { Clock, Logger } from '#platform';
import { codeOf, failureOf, timed } from '../api.js';
import type { AwsClients } from '../clients.js';
import { topicRegionOf } from '../topic-arn.js';
import type { AwsSettings } from '../settings.js';
import { snsMessageOf } from './message.js';
import { SNS_SOURCE } from './verify.js';

const MAX_PAGES = 50;
/** SNS may list a new subscription later than it sends its confirmation. Business milliseconds. */
const NOT_LISTED_FOR_MS = 5 * 60_000;
const ASK_AGAIN_MS = 30_000;
const PENDING = 'PendingConfirmation';

/**
 * Confirms a subscription by the API with its token; the SubscribeURL is never fetched (contract aws §4.2). Only one that this
 * account has pending for an allow-listed topic: a stranger's subscription of our address stays unconfirmed. Repeating it is safe.
 */
export function snsHandshake(
  message: StoredInbound,
  { settings, clients, clock, logger }: { settings: AwsSettings; clients: AwsClients; clock: Clock; logger?: Logger | undefined },
): Handshake | null {
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
          throw new MarketplaceRefusal(codeOf(name), `${operation}: ${why}`, sort === 'us' ? 403 : 400);
        });
      const isPending = await hasPending(client, topicArn, settings.sns!.subscriptionUrl, call);
      if (!isPending) {
        const why = `no subscription of ours to ${topicArn} waits for confirmation`;
        if (clock.now().getTime() - message.receivedAt.getTime() < NOT_LISTED_FOR_MS) throw new MarketplaceBusy(why, ASK_AGAIN_MS);
        throw new MarketplaceRefusal('aws.sns_not_pending', why);
      }
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
