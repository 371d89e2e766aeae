import {
  type FulfillmentEvent,
  type FulfillmentEventKind,
  MarketplaceBusy,
  type MarketplaceState,
  type RequestedChange,
  type StoredInbound,
  type SubscriptionTruth,
} from '#marketplaces/core';
import type { Clock } from '#platform';
import { exclusiveEndOf, fieldsOf, isFields, sameWord } from './liberal.js';
import { type AzureOperation, evidenceOf, isChange, type KnownAction, knownAction, operationOf } from './operations.js';
import type { AzureReader } from './reader.js';

/** A 200 to a change is taken for a yes after this (contract azure §0.4). */
const ANSWER_MS = 10_000;
/** So long Get Subscription may lag behind a notice before its word is final. */
const LAG_MS = 60_000;

type Notice = Exclude<KnownAction, 'changeplan' | 'changequantity'>;
const NOTICES: Record<Notice, { kind: FulfillmentEventKind; states: MarketplaceState[] }> = {
  subscribe: { kind: 'purchased', states: ['active', 'suspended'] },
  renew: { kind: 'renewed', states: ['active', 'suspended'] },
  suspend: { kind: 'suspended', states: ['suspended'] },
  reinstate: { kind: 'reinstated', states: ['active'] },
  unsubscribe: { kind: 'ended', states: ['ended'] },
};

/**
 * A webhook is a hint: what is true is re-read (Get Operation, then Get Subscription), and a message that the two do not
 * bear out changes nothing (contract azure §4, "Event verification and ordering").
 */
export async function normalise(message: StoredInbound, reader: AzureReader, clock: Clock): Promise<FulfillmentEvent[]> {
  const told = operationOf(bodyOf(message.body));
  if (!told) return [];
  const received = { kind: 'noted' as const, marketplace: 'azure' as const, occurredAt: told.at ?? message.receivedAt };
  const id = told.externalSubscriptionId;
  if (!id)
    return [
      {
        ...received,
        externalSubscriptionId: String(told.raw['subscriptionId']).slice(0, 100),
        truth: null,
        note: `${told.action}: the subscription id is no GUID`,
      },
    ];

  const action = knownAction(told.action);
  const isAsked = action !== null && told.operationId !== null;
  const read = isAsked ? await reader.operation(id, told.operationId!) : null;
  const truth = await reader.subscription(id);
  const event: FulfillmentEvent = {
    ...received,
    externalSubscriptionId: id,
    occurredAt: timeOf(told, read) ?? message.receivedAt,
    truth,
    note: told.action,
    ...(isAsked ? { evidence: { getOperation: read && evidenceOf(read) } } : {}),
  };
  const noted = (why: string): FulfillmentEvent[] => [{ ...event, kind: 'noted', note: `${told.action}: ${why}` }];

  if (!action) return noted('not an action we know');
  const mismatch = read && mismatchOf(told, read, id, action);
  if (mismatch) return noted(mismatch);
  if (isChange(action)) {
    // A change is always an operation that can be asked for; only, it may be told before it can be read.
    if (!read) return unseenChange(event, action, told, message.receivedAt, clock.now().getTime() - message.receivedAt.getTime() < LAG_MS);
    if (!truth) return noted('the marketplace knows no such subscription');
    return [changeEvent(event, action, told, read, truth, message.receivedAt)];
  }
  return noticeEvent(event, { action, told, read }, truth, clock, noted);
}

/**
 * A 200 lets it come into force unheard: so long as it may only be early, its sender is asked to come again. After that it is decided
 * as it was told and answered in words, because a change without an answer has hung for others (contract azure §4), and a person is told.
 */
function unseenChange(
  event: FulfillmentEvent,
  action: 'changeplan' | 'changequantity',
  told: AzureOperation,
  receivedAt: Date,
  isFresh: boolean,
): FulfillmentEvent[] {
  if (isFresh) throw new MarketplaceBusy(`${told.action} is told, but the operation cannot be read yet`, 2_000);
  const to = told.planId ?? told.quantity ?? 'nothing';
  const doubt = `${told.action} to ${to} was told, and the marketplace knows no operation ${told.operationId ?? 'without an id'}`;
  const mayWait = told.status === 'pending' || told.status === 'unknown';
  const isWhole = told.operationId !== null && (action === 'changeplan' ? told.planId : told.quantity) !== null;
  if (!event.truth || told.byUs || !mayWait || !isWhole)
    return [{ ...event, kind: 'noted', note: `${told.action}: the marketplace knows no such operation`, doubt: `${doubt}: not decided` }];
  return [{ ...changeEvent(event, action, told, told, event.truth, receivedAt), doubt: `${doubt}: decided and answered as it was told` }];
}

function noticeEvent(
  event: FulfillmentEvent,
  { action, told, read }: { action: Notice; told: AzureOperation; read: AzureOperation | null },
  truth: SubscriptionTruth | null,
  clock: Clock,
  noted: (why: string) => FulfillmentEvent[],
): FulfillmentEvent[] {
  const { kind, states } = NOTICES[action];
  const ending = kind === 'ended' ? { effectiveAt: event.occurredAt } : {};
  if (!truth) {
    // Rows of ended purchases may go; the operation alone still proves the end.
    return kind === 'ended' && read && read.status !== 'failed'
      ? [{ ...event, kind, ...ending, deletedThere: true }]
      : noted('the marketplace knows no such subscription');
  }
  const isYoung = clock.now().getTime() - event.occurredAt.getTime() < LAG_MS;
  if (action === 'renew' && isYoung && termIsOlder(truth, told))
    throw new MarketplaceBusy(`${event.note} is told, but the subscription still shows the term before`, 5_000);
  if (states.includes(truth.state)) return [{ ...event, kind, ...ending }];
  if (read?.status === 'failed') return noted('the operation failed there');
  // Either a later event has overtaken this one, or Get Subscription lags; its own time of change tells which.
  const isOlder = !truth.version || Date.parse(truth.version) < event.occurredAt.getTime() - 1_000;
  if (isOlder && isYoung) {
    throw new MarketplaceBusy(`${event.note} is told, but the subscription still reads ${truth.state}`, 5_000);
  }
  return noted(`the subscription is ${truth.state}`);
}

/** A Renew tells the new term; included quantities are counted by it, so the one of before will not do (contract azure §4). */
function termIsOlder(truth: SubscriptionTruth, told: AzureOperation): boolean {
  const toldEnd = exclusiveEndOf(fieldsOf(fieldsOf(told.raw['subscription'])['term'])['endDate']);
  return toldEnd !== null && truth.term.endsAt !== null && truth.term.endsAt < toldEnd;
}

function changeEvent(
  event: FulfillmentEvent,
  action: 'changeplan' | 'changequantity',
  told: AzureOperation,
  read: AzureOperation,
  truth: SubscriptionTruth,
  receivedAt: Date,
): FulfillmentEvent {
  const requestedByUs = told.byUs || read.byUs;
  const pending = read.status === 'pending' || read.status === 'unknown';
  const toExternalPlanId = action === 'changeplan' ? (read.planId ?? told.planId) : null;
  const toQuantity = action === 'changequantity' ? (read.quantity ?? told.quantity) : null;
  const change: RequestedChange = {
    externalOperationId: told.operationId!,
    kind: action === 'changeplan' ? 'plan' : 'quantity',
    toExternalPlanId,
    toQuantity,
    answerBefore: pending && !requestedByUs ? new Date(receivedAt.getTime() + ANSWER_MS) : null,
    requestedByUs,
  };
  if (read.status === 'succeeded') return { ...event, kind: 'changed', change };
  if (read.status === 'failed' || read.status === 'superseded') return { ...event, kind: 'change_dropped', change };
  // After a refusal Microsoft may send a change to the plan in force; refusing that one too would be wrong (contract azure §4).
  const isRevert = action === 'changeplan' ? toExternalPlanId === truth.externalPlanId : toQuantity === truth.quantity;
  return isRevert
    ? {
        ...event,
        kind: 'change_requested',
        change: { ...change, isRevert },
        note: `${event.note}: back to what is in force, must be accepted`,
      }
    : { ...event, kind: 'change_requested', change };
}

/** What was told must be what the marketplace has on record under that id. */
function mismatchOf(told: AzureOperation, read: AzureOperation, id: string, action: KnownAction): string | null {
  if (read.externalSubscriptionId && read.externalSubscriptionId !== id) return 'the operation belongs to another subscription';
  if (read.operationId && read.operationId !== told.operationId) return 'the marketplace answered another operation';
  if (!sameWord(read.action, told.action)) return `the operation is a ${read.action}`;
  if (action === 'changeplan' && told.planId && read.planId && told.planId !== read.planId)
    return `the operation asks for the plan ${read.planId}, not ${told.planId}`;
  if (action === 'changequantity' && told.quantity !== null && read.quantity !== null && told.quantity !== read.quantity)
    return `the operation asks for ${read.quantity}, not ${told.quantity}`;
  return null;
}

/** The message's time is finer, the operation's own is to be trusted: the finer one where both name the same second. */
function timeOf(told: AzureOperation, read: AzureOperation | null): Date | null {
  if (!read?.at) return told.at;
  return told.at && Math.abs(told.at.getTime() - read.at.getTime()) < 1_000 ? told.at : read.at;
}

function bodyOf(text: string): unknown {
  try {
    const body: unknown = JSON.parse(text);
    return isFields(body) ? body : null;
  } catch {
    return null;
  }
}
