import type { Check } from '#marketplaces/core';
import { pubSubOf } from './access-token.js';
import { checker, LINK } from './check.js';
import { type Fields, fieldsOf, textOf } from './liberal.js';
import { subscriptionName } from './pull.js';
import { type GcpSettings, TIMEOUTS_MS } from './settings.js';

/** A shorter one lets a push run into its time-out while the database is busy. */
const LEAST_ACK_SECONDS = 30;
const TOPIC = 'projects/cloudcommerceproc-prod/topics/';

/** Whether the Pub/Sub subscription is there and set up for the way we take messages. Asked at boot and by the doctor. */
export async function subscriptionChecks(settings: GcpSettings, timeoutMs?: number): Promise<Check[]> {
  const check = checker(timeoutMs);
  const name = subscriptionName(settings.subscription);
  let metadata: Fields | null = null;
  const found = await check(
    'gcp.pubsub',
    async () => {
      const client = pubSubOf(settings);
      try {
        const [answer] = await client.subscription(name).getMetadata({ timeout: TIMEOUTS_MS.pubsub, maxRetries: 0 });
        metadata = fieldsOf(answer);
        return `the subscription ${name} is there`;
      } finally {
        await client.close();
      }
    },
    () => `Create ${name} in ${settings.projectId} on the topic ${TOPIC}${settings.providerId} as the linked service account. ${LINK}`,
  );
  return metadata === null ? [found] : [found, ...settingsChecks(metadata, settings)];
}

/** Pure: what a subscription's own settings mean for us (contract gcp §3, "Pull vs push"; §7.6). */
export function settingsChecks(metadata: Fields, settings: Pick<GcpSettings, 'push' | 'subscription' | 'providerId'>): Check[] {
  const name = subscriptionName(settings.subscription);
  const checks: Check[] = [deliveryCheck(metadata, settings.push, name)];
  const warn = (id: string, bad: boolean, detail: string, remedy: string, good: string): void => {
    checks.push(
      bad ? { check: `gcp.pubsub_${id}`, result: 'warn', detail, remedy } : { check: `gcp.pubsub_${id}`, result: 'pass', detail: good },
    );
  };
  const topic = textOf(metadata['topic']) ?? '';
  warn(
    'topic',
    topic !== `${TOPIC}${settings.providerId}`,
    `${name} is on the topic ${topic}`,
    `The marketplace publishes to ${TOPIC}${settings.providerId}: make the subscription there.`,
    'it is on the topic of the marketplace',
  );
  const seconds = Number(metadata['ackDeadlineSeconds'] ?? 0);
  warn(
    'ack_deadline',
    seconds < LEAST_ACK_SECONDS,
    `the acknowledgement deadline is ${seconds} s`,
    `Set it to ${LEAST_ACK_SECONDS} s or more: it is the time-out of a push and the first lease of a pull.`,
    `the acknowledgement deadline is ${seconds} s`,
  );
  warn(
    'exactly_once',
    metadata['enableExactlyOnceDelivery'] === true,
    'exactly-once delivery is on',
    'Switch it off: it does not cover what Google publishes twice, our inbox does, and it makes acknowledgements slow and fallible.',
    'exactly-once delivery is off',
  );
  const deadLetter = fieldsOf(metadata['deadLetterPolicy']);
  warn(
    'dead_letter',
    textOf(deadLetter['deadLetterTopic']) !== null,
    `after ${Number(deadLetter['maxDeliveryAttempts'] ?? 5)} failed tries a message leaves for ${textOf(deadLetter['deadLetterTopic']) ?? ''}`,
    'Take the dead-letter policy off: an outage of ours would burn the tries of the whole backlog. What stays unreadable is kept here.',
    'no dead-letter policy takes messages away',
  );
  const expires = Number(fieldsOf(fieldsOf(metadata['expirationPolicy'])['ttl'])['seconds'] ?? 0);
  warn(
    'expiration',
    expires > 0,
    `an idle ${name} is deleted after ${Math.round(expires / 86_400)} days`,
    'Set its expiration policy to never.',
    'an idle subscription is kept',
  );
  return checks;
}

function deliveryCheck(metadata: Fields, push: GcpSettings['push'], name: string): Check {
  const config = fieldsOf(metadata['pushConfig']);
  const endpoint = textOf(config['pushEndpoint']);
  const token = fieldsOf(config['oidcToken']);
  const fail = (detail: string, remedy: string): Check => ({ check: 'gcp.pubsub_delivery', result: 'fail', detail, remedy });
  if (!push) {
    return endpoint === null
      ? { check: 'gcp.pubsub_delivery', result: 'pass', detail: 'messages are pulled' }
      : fail(
          `${name} pushes to ${endpoint}, and we pull`,
          'Make it a pull subscription, or set GCP_PUSH_AUDIENCE and GCP_PUSH_SERVICE_ACCOUNT.',
        );
  }
  if (endpoint === null)
    return fail(
      `${name} is pulled from, and we wait for pushes`,
      'Set a push endpoint (…/webhooks/gcp/pubsub), or unset GCP_PUSH_AUDIENCE.',
    );
  const account = textOf(token['serviceAccountEmail']);
  if (account === null)
    return fail('its pushes are not signed', 'Enable authentication of the push and name the service account of GCP_PUSH_SERVICE_ACCOUNT.');
  if (account !== push.serviceAccount)
    return fail(`its pushes are signed by ${account}`, `Set GCP_PUSH_SERVICE_ACCOUNT to it, or let ${push.serviceAccount} sign.`);
  // Without an audience of its own, Google takes the endpoint's address.
  const audience = textOf(token['audience']) ?? endpoint;
  if (audience !== push.audience)
    return fail(`its pushes are for the audience ${audience}`, 'Set GCP_PUSH_AUDIENCE to exactly that, character by character.');
  return { check: 'gcp.pubsub_delivery', result: 'pass', detail: `messages are pushed to ${endpoint}` };
}
