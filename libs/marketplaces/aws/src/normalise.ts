import type { FulfillmentEvent, FulfillmentEventKind, StoredInbound } from '#marketplaces/core';
import { SUPERSEDED, TERMINAL } from './agreement-status.js';
import { type Envelope, envelopeOf } from './envelope.js';
import { fieldsOf, instantTextOf, textOf } from './liberal.js';
import { noticeOf } from './notices.js';
import { type AwsRefs, NOTHING_KNOWN, truthOfRefs } from './refs.js';

interface Told {
  kind: FulfillmentEventKind;
  /** Null: a type that we do not act on tells nothing of the purchase, and so cannot make one either. */
  refs: Partial<AwsRefs> | null;
  note?: string;
  effectiveAt?: Date;
}

/** The events of one EventBridge message, from the message alone: there is no truth to re-read. `mergeTruth` completes them. */
export function normalise(message: Pick<StoredInbound, 'body' | 'receivedAt'>): FulfillmentEvent[] {
  const event = envelopeOf(message.body);
  if (!event) return [];
  const at = event.at ?? message.receivedAt.toISOString();
  const told = tell(event, at);
  const note = told.note ? `${event.detailType}: ${told.note}` : event.detailType;
  const notice = noticeOf(event);
  const base = {
    ...(notice ? { notice } : {}),
    kind: told.kind,
    marketplace: 'aws' as const,
    occurredAt: new Date(at),
    note,
    ...(told.effectiveAt ? { effectiveAt: told.effectiveAt } : {}),
  };
  if (!event.licenseId && !event.agreementId) return [{ ...base, kind: 'noted', externalSubscriptionId: '', truth: null }];
  const agreementIds = event.agreementId ? [event.agreementId] : [];
  const facts = { ...NOTHING_KNOWN, licenseId: event.licenseId ?? '', agreementIds, lastEventAt: at, ...parties(event, at) };
  const truth = told.refs && truthOfRefs({ ...facts, ...told.refs }, message.receivedAt);
  return [
    event.licenseId
      ? { ...base, externalSubscriptionId: event.licenseId, truth }
      : { ...base, externalSubscriptionId: '', alias: { kind: 'agreement', externalId: event.agreementId! }, truth },
  ];
}

/** Who and what: told by most events; whose licence it is by the licence's own only. */
function parties(event: Envelope, at: string): Partial<AwsRefs> {
  const { detail } = event;
  const offerId = textOf(fieldsOf(detail['offer'])['id']);
  return {
    ...resellerOf(event),
    accountId: textOf(fieldsOf(detail['acceptor'])['accountId']),
    productCode: textOf(fieldsOf(detail['product'])['code']),
    offerId: offerId === null ? null : { value: offerId, at },
  };
}

/**
 * Who sold it, where a partner did (contract aws §4.1, §7): its maker gets the agreement's messages in the role of manufacturer,
 * and the proposer is another account than the one that the event was sent to.
 */
function resellerOf({ detail, role, account, eventName }: Envelope): Partial<AwsRefs> {
  const proposer = textOf(fieldsOf(detail['proposer'])['accountId']);
  // Advisories are always told to the manufacturer, as licences are.
  const isOfAgreement = /^Purchase Agreement (Created|Amended|Ended)$/.test(eventName);
  const isResold = isOfAgreement ? role === 'manufacturer' : account !== null && proposer !== account;
  if (!isResold || proposer === null) return {};
  return { resellerAccountId: proposer, resaleAuthorizationId: textOf(fieldsOf(detail['resaleAuthorization'])['id']) };
}

function tell(event: Envelope, at: string): Told {
  const agreement = fieldsOf(event.detail['agreement']);
  switch (event.eventName) {
    case 'License Updated':
      return event.licenseId ? { kind: 'purchased', refs: { licensed: true } } : { kind: 'noted', refs: {}, note: 'it names no licence' };
    case 'License Deprovisioned':
      return event.licenseId
        ? { kind: 'ended', refs: { endedAt: at, endedStatus: 'DEPROVISIONED' }, effectiveAt: new Date(at) }
        : { kind: 'noted', refs: {}, note: 'it names no licence' };
    case 'Purchase Agreement Created':
    case 'Purchase Agreement Amended':
      return { kind: 'noted', refs: terms(agreement, at), ...(textOf(agreement['intent']) ? { note: textOf(agreement['intent'])! } : {}) };
    case 'Purchase Agreement Ended':
      return ended(textOf(agreement['status'])?.toUpperCase() ?? 'no status', at);
    // Advisories are for people: AWS says not to revoke on them. The rest announces, asks or accounts (contract aws §4.1).
    default:
      return { kind: 'noted', refs: null, note: noticeOf(event) ? 'for people' : 'not a type we act on' };
  }
}

function ended(status: string, at: string): Told {
  if (TERMINAL.has(status)) {
    const refs = { endedAt: at, endedStatus: status, finalStatus: { value: status, at } };
    return { kind: 'ended', refs, note: status, effectiveAt: new Date(at) };
  }
  if (SUPERSEDED.has(status)) return { kind: 'superseded', refs: { superseded: { value: status, at } }, note: status };
  return { kind: 'noted', refs: {}, note: `${status} ends nothing by itself` };
}

function terms(agreement: Record<string, unknown>, at: string): Partial<AwsRefs> {
  const [startsAt, endsAt, renews] = [
    instantTextOf(agreement['startTime']),
    instantTextOf(agreement['endTime']),
    agreement['autoRenewalEnabled'],
  ];
  return {
    startsAt: startsAt === null ? null : { value: startsAt, at },
    // Pay as you go has no end (contract aws §4.1).
    endsAt: endsAt === null ? null : { value: endsAt, at },
    autoRenew: typeof renews === 'boolean' ? { value: renews, at } : null,
    previousAgreementId: textOf(agreement['previousAgreementId']),
  };
}
