import type { MarketplaceState, RequestedChange, SubscriptionTruth } from '#marketplaces/core';
import { z } from 'zod';
import type { components } from '../../../../openapi/generated/gcp-procurement.js';
import { fieldsOf, instantOf, lastSegment, microsecondsOf, textOf } from './liberal.js';

export type EntitlementState = components['schemas']['EntitlementState'];

/** What the adapter wants given back with a purchase; `usageReportingId` is needed to report usage and may come late. */
export const gcpRefsSchema = z.looseObject({
  accountId: z.string().nullable(),
  usageReportingId: z.string().optional(),
  product: z.string(),
  updateTime: z.string().nullable(),
  state: z.string(),
  /** The start that a message told and GET does not show (ADR 0019). */
  toldStart: z.string().optional(),
});
export type GcpRefs = z.output<typeof gcpRefsSchema>;

/** An entitlement as Google serves it, read liberally; `truth` is what the rest of the house sees of it. */
export interface Entitlement {
  id: string;
  state: EntitlementState;
  accountId: string | null;
  plan: string;
  newPendingPlan: string | null;
  orderId: string | null;
  createdAt: Date | null;
  updatedAt: Date | null;
  /** Set while waiting for its start only after an approval (contract gcp §2, table of states). */
  newOfferStartsAt: Date | null;
  messageToUser: string | null;
  truth: SubscriptionTruth;
}

const STATES: Record<EntitlementState, MarketplaceState> = {
  ENTITLEMENT_ACTIVATION_REQUESTED: 'pending_fulfillment',
  ENTITLEMENT_ACTIVE: 'active',
  // Both are still entitled, on the old plan (contract gcp §2).
  ENTITLEMENT_PENDING_CANCELLATION: 'active',
  ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL: 'active',
  ENTITLEMENT_PENDING_PLAN_CHANGE: 'active',
  ENTITLEMENT_CANCELLED: 'ended',
  ENTITLEMENT_SUSPENDED: 'suspended',
};

/** Null where it has no usable id, state, product or plan. */
export function entitlementOf(raw: unknown, observedAt: Date): Entitlement | null {
  const one = fieldsOf(raw);
  const id = lastSegment(one['name']);
  const state = (textOf(one['state']) ?? '').toUpperCase() as EntitlementState;
  // `product` is documented as ambiguous; the external name is the listing's (contract gcp §2).
  const product = textOf(one['productExternalName']) ?? textOf(one['product']);
  const plan = textOf(one['plan']);
  if (!id || !Object.hasOwn(STATES, state) || !product || !plan) return null;
  const accountId = lastSegment(one['account']);
  const orderId = lastSegment(one['orderId']);
  const usageReportingId = textOf(one['usageReportingId']);
  const updateTime = microsecondsOf(one['updateTime']);
  const newOfferStartsAt = instantOf(one['newOfferStartTime']);
  const isScheduled = state === 'ENTITLEMENT_ACTIVATION_REQUESTED' && newOfferStartsAt !== null && newOfferStartsAt > observedAt;
  const currentEnd = instantOf(one['offerEndTime']) ?? instantOf(one['subscriptionEndTime']);
  const waits = state === 'ENTITLEMENT_ACTIVATION_REQUESTED';
  const refs: GcpRefs = { accountId, ...(usageReportingId === null ? {} : { usageReportingId }), product, updateTime, state };
  const newPendingPlan = textOf(one['newPendingPlan']);
  const party = accountId === null ? null : { email: null, personId: null, directoryId: null, accountId };
  return {
    id,
    state,
    accountId,
    plan,
    orderId,
    newOfferStartsAt,
    newPendingPlan,
    messageToUser: textOf(one['messageToUser']),
    createdAt: instantOf(one['createTime']),
    updatedAt: instantOf(one['updateTime']),
    truth: {
      marketplace: 'gcp',
      externalSubscriptionId: id,
      aliases: orderId !== null && orderId !== id ? [{ kind: 'gcp.order', externalId: orderId }] : [],
      state: isScheduled ? 'scheduled' : STATES[state],
      name: null,
      externalOfferId: product,
      externalPlanId: plan,
      quantity: null,
      term: {
        unit: textOf(one['offerDuration']) ?? (waits ? textOf(one['newPendingOfferDuration']) : null),
        startsAt: waits ? newOfferStartsAt : null,
        endsAt: waits ? (instantOf(one['newOfferEndTime']) ?? currentEnd) : currentEnd,
      },
      // An offer's end alone ends nothing: it renews, or stays active at list price (contract gcp §5).
      endsAt: state === 'ENTITLEMENT_PENDING_CANCELLATION' ? currentEnd : null,
      purchaser: party,
      beneficiary: party,
      readOnly: false,
      isTest: false,
      isFreeTrial: false,
      supersedes: null,
      // Needed to report usage; it may come minutes or hours after the activation, without a message (contract gcp §2).
      ...(state === 'ENTITLEMENT_ACTIVE' && usageReportingId === null ? { incomplete: 'usage' as const } : {}),
      ...(newPendingPlan !== null && state === 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL'
        ? { pendingChange: changeTo(newPendingPlan, plan, updateTime) }
        : {}),
      ...(newPendingPlan !== null && state === 'ENTITLEMENT_PENDING_PLAN_CHANGE' ? { agreedPlanId: newPendingPlan } : {}),
      refs,
      observedAt,
      version: updateTime,
    },
  };
}

/** A new private offer on the plan in force is asked for the same way; the plan does not change, so it must be accepted. */
const changeTo = (to: string, plan: string, updateTime: string | null): RequestedChange => ({
  externalOperationId: `plan:${to}:${updateTime ?? ''}`,
  kind: 'plan',
  toExternalPlanId: to,
  toQuantity: null,
  answerBefore: null,
  requestedByUs: false,
  ...(to === plan ? { isRevert: true } : {}),
});

export interface Account {
  id: string;
  state: string;
  approvals: { name: string; state: string }[];
  /** The reseller's billing account, of which the buyer's is a part; null where nobody resold. */
  resellerBillingAccount: string | null;
}

export function accountOf(raw: unknown): Account | null {
  const one = fieldsOf(raw);
  const id = lastSegment(one['name']);
  if (!id) return null;
  const given = Array.isArray(one['approvals']) ? one['approvals'] : [];
  return {
    id,
    state: textOf(one['state']) ?? '',
    resellerBillingAccount: lastSegment(one['resellerParentBillingAccount']),
    approvals: given.map(fieldsOf).map((a) => ({ name: textOf(a['name']) ?? '', state: (textOf(a['state']) ?? '').toUpperCase() })),
  };
}

/** We decide on the approval, never on the account's state, which is ACTIVE from the start (contract gcp §1). */
export const signUpOf = (account: Account | null): string | null =>
  account?.approvals.find((a) => lastSegment(a.name) === 'signup')?.state ?? null;
