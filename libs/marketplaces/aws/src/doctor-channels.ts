import { ListSubscriptionsCommand, type Subscription } from '@aws-sdk/client-sns';
import { GetQueueAttributesCommand } from '@aws-sdk/client-sqs';
import { type Check, MarketplaceBusy } from '#marketplaces/core';
import { errorText } from '#platform';
import type { AgreementReader } from './agreements/agreement-reader.js';
import { agreementChecks, type Within } from './doctor-agreements.js';
import { failureOf } from './api.js';
import type { AwsClients } from './clients.js';
import type { EntitlementReader } from './entitlements.js';
import { queueRegionOf } from './hosts.js';
import type { AwsSettings } from './settings.js';
import { topicRegionOf } from './topic-arn.js';

const MAX_PAGES = 50;
/** A licence that nobody has: the call is looked at, not its answer. */
const NOBODY = 'nobody0000';

export interface ChannelDeps {
  clients: AwsClients;
  entitlements: EntitlementReader;
  agreements: AgreementReader | null;
}

/** Reads only: what the topics, queues and the entitlement service of these settings say to us. Nothing is taken from a queue. */
export async function channelChecks(
  settings: AwsSettings,
  { clients, entitlements, agreements }: ChannelDeps,
  within: Within,
): Promise<Check[]> {
  const checks: Check[] = [];
  const failed = (check: string, error: unknown, remedy: string): void => {
    const { sort } = failureOf(error);
    checks.push({
      check,
      result: sort === 'busy' || error instanceof MarketplaceBusy ? 'unknown' : 'fail',
      detail: errorText(error),
      remedy,
    });
  };
  for (const code of Object.keys(settings.contractProducts)) {
    const check = `aws.entitlements.${code}`;
    try {
      await within(() => entitlements.read(code, { customerIdentifier: NOBODY }));
      checks.push({ check, result: 'pass', detail: `entitlements of ${code} can be read` });
    } catch (error) {
      failed(check, error, `Allow aws-marketplace:GetEntitlements on *, in the account that published ${code}, and check the code.`);
    }
  }
  checks.push(...(await agreementChecks(agreements, within)));
  checks.push(...legacyTopics(settings));
  for (const topic of settings.sns?.topics ?? []) {
    const check = `aws.topic.${nameOf(topic)}`;
    try {
      const all = await within(() => subscriptionsOf(clients, topic));
      checks.push(topicCheck(check, topic, all, settings.sns!.subscriptionUrl));
    } catch (error) {
      failed(
        check,
        error,
        'Allow sns:ListSubscriptions, sns:ConfirmSubscription and sns:Subscribe to the account that published the product.',
      );
    }
  }
  for (const queue of settings.queues) {
    const check = `aws.queue.${nameOf(queue)}`;
    try {
      checks.push(await within(() => queueCheck(check, queue, clients)));
    } catch (error) {
      const isGone = failureOf(error).name.includes('QueueDoesNotExist') || failureOf(error).name.includes('NonExistentQueue');
      const permissions = 'sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes';
      failed(check, error, isGone ? 'Make the queue, or correct AWS_SQS_QUEUE_URLS.' : `Allow ${permissions} on the queue.`);
    }
  }
  return checks;
}

const nameOf = (id: string): string => id.split(/[:/]/).pop() ?? id;

/** A legacy listing is heard by its topics alone (contract aws §4.2). */
function legacyTopics({ legacyProducts, sns, queues }: AwsSettings): Check[] {
  const deaf = Object.keys(legacyProducts).filter((code) => !sns?.topics.some((topic) => topic.endsWith(`-${code}`)));
  if (deaf.length === 0 || queues.length > 0) return [];
  return [
    {
      check: 'aws.topics',
      result: 'fail',
      detail: `no topic of ${deaf.join(', ')} is listed, so nothing is heard of these old listings`,
      remedy: 'List the ARNs of aws-mp-subscription-notification-<code> (and aws-mp-entitlement-notification-<code>) in AWS_SNS_TOPICS.',
    },
  ];
}

async function subscriptionsOf(clients: AwsClients, topic: string): Promise<Subscription[]> {
  const client = clients.sns(topicRegionOf(topic)!);
  const all: Subscription[] = [];
  let NextToken: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const answer = await client.send(new ListSubscriptionsCommand(NextToken ? { NextToken } : {}));
    all.push(...(answer.Subscriptions ?? []).filter((one) => one.TopicArn === topic));
    NextToken = answer.NextToken;
    if (!NextToken) break;
  }
  return all;
}

function topicCheck(check: string, topic: string, all: Subscription[], ourUrl: string | null): Check {
  const ours = all.filter(
    ({ Protocol, Endpoint }) => Protocol === 'sqs' || (/^https?$/.test(Protocol ?? '') && (ourUrl === null || Endpoint === ourUrl)),
  );
  if (ours.some(({ SubscriptionArn }) => SubscriptionArn?.startsWith('arn:')))
    return { check, result: 'pass', detail: `a subscription to ${topic} is confirmed` };
  if (ours.length > 0)
    return {
      check,
      result: 'fail',
      detail: `the subscription to ${topic} waits for its confirmation`,
      remedy: 'Ask SNS to send the confirmation again (subscribe once more); it is confirmed by the API as soon as it arrives.',
    };
  return {
    check,
    result: 'fail',
    detail: `nothing of ours is subscribed to ${topic}`,
    remedy: `From the account that published the product: aws sns subscribe --topic-arn ${topic} --protocol https --notification-endpoint ${ourUrl ?? '<our address>/webhooks/aws/sns'}`,
  };
}

async function queueCheck(check: string, url: string, clients: AwsClients): Promise<Check> {
  const { Attributes: found = {} } = await clients
    .sqs(queueRegionOf(url))
    .send(new GetQueueAttributesCommand({ QueueUrl: url, AttributeNames: ['All'] }));
  const waiting = `${found['ApproximateNumberOfMessages'] ?? '?'} messages wait`;
  return found['RedrivePolicy']
    ? { check, result: 'pass', detail: `the queue answers; ${waiting}` }
    : {
        check,
        result: 'warn',
        detail: `the queue answers (${waiting}) and has no dead-letter queue: what is no event of ours comes again and again until it expires`,
        remedy: 'Give the queue a redrive policy with a dead-letter queue.',
      };
}
