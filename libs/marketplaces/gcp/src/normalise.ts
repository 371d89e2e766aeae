import type { FulfillmentEvent, FulfillmentEventKind, RecallRefs, StoredInbound } from '#marketplaces/core';
import type { Procurement } from './procurement.js';
import { bodyTextOf, type Notification, notificationOf } from './message.js';
import { PULLED_ID } from './pull.js';
import { envelopeOf } from './push.js';
import { toldStartOf, withToldStart } from './told-start.js';
import { type Entitlement, type EntitlementState, signUpOf } from './truth.js';

const ENTITLED: EntitlementState[] = [
  'ENTITLEMENT_ACTIVE',
  'ENTITLEMENT_PENDING_CANCELLATION',
  'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL',
  'ENTITLEMENT_PENDING_PLAN_CHANGE',
];

/** What a type means if the fetched state bears it out (contract gcp §3, table). Types that are not here are noted. */
const MEANINGS: Record<string, { kind: FulfillmentEventKind; states: EntitlementState[] }> = {
  ENTITLEMENT_CREATION_REQUESTED: { kind: 'purchased', states: ['ENTITLEMENT_ACTIVATION_REQUESTED', ...ENTITLED] },
  ENTITLEMENT_OFFER_ACCEPTED: { kind: 'purchased', states: ['ENTITLEMENT_ACTIVATION_REQUESTED', ...ENTITLED] },
  ENTITLEMENT_ACTIVE: { kind: 'activated', states: ENTITLED },
  ENTITLEMENT_PLAN_CHANGE_REQUESTED: { kind: 'change_requested', states: ['ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL'] },
  ENTITLEMENT_PLAN_CHANGED: { kind: 'changed', states: ENTITLED },
  ENTITLEMENT_PLAN_CHANGE_CANCELLED: { kind: 'change_dropped', states: ENTITLED },
  ENTITLEMENT_PENDING_CANCELLATION: { kind: 'end_scheduled', states: ['ENTITLEMENT_PENDING_CANCELLATION'] },
  ENTITLEMENT_CANCELLATION_REVERTED: {
    kind: 'end_reverted',
    states: ['ENTITLEMENT_ACTIVE', 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL', 'ENTITLEMENT_PENDING_PLAN_CHANGE'],
  },
  ENTITLEMENT_CANCELLED: { kind: 'ended', states: ['ENTITLEMENT_CANCELLED'] },
  ENTITLEMENT_RENEWED: { kind: 'renewed', states: ENTITLED },
  // Either a cancellation follows or it goes on at list price: never an end by itself.
  ENTITLEMENT_OFFER_ENDED: { kind: 'changed', states: ENTITLED },
  ENTITLEMENT_DELETED: { kind: 'data_deletion_due', states: ['ENTITLEMENT_CANCELLED'] },
};

/** A message is a hint: the entitlement is fetched, and the fetched state is what is folded (contract gcp §3). */
export async function normalise(
  message: StoredInbound,
  procurement: Procurement,
  providerId: string,
  recall?: RecallRefs,
): Promise<FulfillmentEvent[]> {
  const told = notificationOf(notificationText(message));
  const word = told?.eventType?.slice(0, 100) ?? told?.about?.kind ?? 'a message';
  const noted = (why: string): FulfillmentEvent[] => [
    {
      kind: 'noted',
      marketplace: 'gcp',
      externalSubscriptionId: told?.about?.kind === 'entitlement' ? told.about.id : '',
      occurredAt: told?.updatedAt ?? message.receivedAt,
      truth: null,
      note: `${word}: ${why}`,
    },
  ];
  if (!told) return noted('it is no JSON object');
  if (!told.about) return noted('it names neither an entitlement nor an account');
  if (told.providerId && told.providerId !== providerId) return noted(`it is of the provider ${told.providerId.slice(0, 100)}`);
  const { id } = told.about;
  if (told.about.kind === 'account') return accountEvents(told, id, word, message, { procurement, recall }, noted);
  const shown = await procurement.entitlementWithBuyer(id);
  const startsAt = told.startsAt ?? toldStartOf(await recall?.(id));
  return [entitlementEvent(told, id, word, message, shown && withToldStart(shown, startsAt))];
}

/** A pulled message is stored as it was published, a pushed one in its envelope. Only pulling sets the header. */
function notificationText({ headers, body }: StoredInbound): string {
  const envelope = headers[PULLED_ID] === undefined ? envelopeOf(body) : null;
  return envelope ? bodyTextOf(envelope.data) : body;
}

function entitlementEvent(
  told: Notification,
  id: string,
  word: string,
  message: StoredInbound,
  entitlement: Entitlement | null,
): FulfillmentEvent {
  const meaning = told.eventType !== null && Object.hasOwn(MEANINGS, told.eventType) ? MEANINGS[told.eventType]! : null;
  const event: FulfillmentEvent = {
    kind: 'noted',
    marketplace: 'gcp',
    externalSubscriptionId: id,
    // The fetched state holds since its own update; the message may be older than that.
    occurredAt: entitlement?.updatedAt ?? told.updatedAt ?? message.receivedAt,
    truth: entitlement?.truth ?? null,
    note: word,
  };
  const noted = (why: string): FulfillmentEvent => ({ ...event, note: `${word}: ${why}` });
  if (!meaning) return noted('not a type we act on');
  if (!entitlement) {
    // Gone is normal some 60 days after the end; no other type can be borne out any more.
    if (meaning.kind === 'ended') return { ...event, kind: 'ended', effectiveAt: event.occurredAt, deletedThere: true };
    return meaning.kind === 'data_deletion_due'
      ? { ...event, kind: 'data_deletion_due' }
      : noted('the marketplace knows no such entitlement');
  }
  if (!meaning.states.includes(entitlement.state)) return noted(`the entitlement is ${entitlement.state}`);
  switch (meaning.kind) {
    case 'ended':
      return { ...event, kind: 'ended', effectiveAt: event.occurredAt };
    case 'end_scheduled':
      return { ...event, kind: 'end_scheduled', ...(entitlement.truth.endsAt ? { effectiveAt: entitlement.truth.endsAt } : {}) };
    case 'change_requested': {
      const change = entitlement.truth.pendingChange;
      return change ? { ...event, kind: 'change_requested', change } : noted('the pending change names no plan');
    }
    case 'purchased':
      return { ...event, kind: entitlement.truth.buyerReady ? 'buyer_ready' : 'purchased' };
    default:
      return { ...event, kind: meaning.kind };
  }
}

/** An account is no purchase: what it tells is told of each of its live ones, and noted where there is none. */
async function accountEvents(
  told: Notification,
  accountId: string,
  word: string,
  message: StoredInbound,
  { procurement, recall }: { procurement: Procurement; recall: RecallRefs | undefined },
  noted: (why: string) => FulfillmentEvent[],
): Promise<FulfillmentEvent[]> {
  const account = await procurement.account(accountId);
  const isReady = told.eventType === null || told.eventType === 'ACCOUNT_ACTIVE';
  if (!account) {
    // Announced and true: what we keep of the buyer goes. The documented message may come without a type.
    if (told.eventType !== null && told.eventType !== 'ACCOUNT_DELETED') return noted('the marketplace knows no such account');
    const [event] = noted('the account was deleted');
    return [{ ...event!, kind: 'data_deletion_due', buyerAccountId: accountId }];
  }
  const note = `${word}: ${account.state || 'no state'}, sign-up ${signUpOf(account) ?? 'not asked for'}`;
  const live = (await procurement.entitlementsOf(accountId)).filter((e) => e.truth.state !== 'ended');
  if (live.length === 0) return noted(note.slice(word.length + 2));
  const signedUp = signUpOf(account) === 'APPROVED';
  const events: FulfillmentEvent[] = [];
  for (const one of live) {
    const e = withToldStart(one, toldStartOf(await recall?.(one.id)));
    events.push({
      kind: isReady && signedUp ? 'buyer_ready' : 'noted',
      marketplace: 'gcp',
      externalSubscriptionId: e.id,
      occurredAt: e.updatedAt ?? told.updatedAt ?? message.receivedAt,
      truth: e.truth.state === 'pending_fulfillment' ? { ...e.truth, buyerReady: signedUp } : e.truth,
      note,
    });
  }
  return events;
}
