import type { FulfillmentEvent, RecallRefs, StoredInbound } from '#marketplaces/core';
import type { Clock } from '#platform';
import { envelopeOf } from './envelope.js';
import type { EntitlementReader } from './entitlements.js';
import { normaliseLegacy } from './legacy/normalise-legacy.js';
import { legacyNotificationOf } from './legacy/notification.js';
import { grantsOf } from './grants.js';
import { fieldsOf, instantTextOf, textOf } from './liberal.js';
import { normalise } from './normalise.js';
import type { AgreementTruth } from './agreements/agreement-truth.js';
import { type AwsRefs, NOTHING_KNOWN, readRefs, truthOfRefs } from './refs.js';
import type { AwsSettings } from './settings.js';
import { snsWrappingOf } from './sns/message.js';

export interface NormaliseDeps {
  settings: AwsSettings;
  entitlements: EntitlementReader;
  clock: Clock;
  /** Null: the Agreement API is not asked. */
  agreements: AgreementTruth | null;
}

/** A stored message of any channel: taken out of its SNS envelope where it has one, then by what it says. */
export async function normaliseStored(
  message: StoredInbound,
  { settings, entitlements, clock, agreements }: NormaliseDeps,
  recall?: RecallRefs,
): Promise<FulfillmentEvent[]> {
  const wrapping = snsWrappingOf(message.body);
  const body = wrapping ? wrapping.message : message.body;
  const at = instantTextOf(wrapping?.timestamp) ?? message.receivedAt.toISOString();
  if (wrapping?.type === 'UnsubscribeConfirmation') return [channelLost(wrapping.topicArn, at)];
  // A confirmation is a matter between SNS and us (`snsHandshake`); of purchases it tells nothing.
  if (wrapping && wrapping.type !== 'Notification') return [];
  const legacy = legacyNotificationOf(body);
  if (legacy) return normaliseLegacy(legacy, at, message.receivedAt, { settings, entitlements, now: clock.now(), recall });
  const events = normalise({ body, receivedAt: message.receivedAt });
  const envelope = envelopeOf(body);
  const licenseId = envelope?.eventName === 'License Updated' ? events[0]?.externalSubscriptionId : undefined;
  if (!envelope || !licenseId) return events;
  const known = recall ? readRefs(await recall(licenseId)) : null;
  const learnt = (agreements && envelope.agreementId && (await agreements.learn(envelope.agreementId, licenseId, known))) || {};
  const productCode = known?.productCode ?? textOf(fieldsOf(envelope.detail['product'])['code']);
  const grants = await grantsOf({ ...(known ?? NOTHING_KNOWN), productCode }, envelope.at ?? at, { entitlements, clock });
  return events.map((event) => withRefs(event, { ...learnt, ...grants }, message.receivedAt));
}

/** From now on nothing of the topic comes by this channel: ends of purchases too would go unheard. */
function channelLost(topicArn: string, at: string): FulfillmentEvent {
  return {
    kind: 'noted',
    marketplace: 'aws',
    externalSubscriptionId: '',
    occurredAt: new Date(at),
    truth: null,
    channelLost: { channel: topicArn },
    note: 'SNS: our subscription to the topic was taken away',
  };
}

/** What a read told beside the message. */
function withRefs(event: FulfillmentEvent, more: Partial<AwsRefs>, observedAt: Date): FulfillmentEvent {
  const refs = event.truth && readRefs(event.truth.refs);
  return refs ? { ...event, truth: truthOfRefs({ ...refs, ...more }, observedAt) } : event;
}
