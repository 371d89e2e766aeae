import type { MarketplaceState, Party, Reseller, SubscriptionTruth } from '#marketplaces/core';
import { z } from 'zod';
import { exclusiveEndOf, type Fields, fieldsOf, flagOf, guidOf, instantOf, isFields, seatsOf, textOf } from './liberal.js';

/** What the adapter wants given back with a purchase. Nothing of it is needed to send usage. */
export const azureRefsSchema = z.looseObject({
  publisherId: z.string().nullable(),
  allowedOperations: z.array(z.string()),
  autoRenew: z.boolean().nullable(),
  /** `DryRun` usage is not billed (contract azure §11). */
  sessionMode: z.string().nullable(),
  sandboxType: z.string().nullable(),
});
export type AzureRefs = z.output<typeof azureRefsSchema>;

const STATES: Record<string, MarketplaceState> = {
  notstarted: 'pending_fulfillment',
  pendingfulfillmentstart: 'pending_fulfillment',
  subscribed: 'active',
  suspended: 'suspended',
  // Also a purchase that was never activated: whether that is `voided` only the subscription's own history tells.
  unsubscribed: 'ended',
};

/** One purchase of Get, List or Resolve; null where it has no usable id, state or plan. */
export function truthOf(raw: unknown, observedAt: Date): SubscriptionTruth | null {
  const one = fieldsOf(raw);
  const externalSubscriptionId = guidOf(one['id']);
  const state = STATES[(textOf(one['saasSubscriptionStatus']) ?? textOf(one['status']) ?? '').toLowerCase()];
  const externalOfferId = textOf(one['offerId']);
  const externalPlanId = textOf(one['planId']);
  if (!externalSubscriptionId || !state || !externalOfferId || !externalPlanId) return null;
  const term = fieldsOf(one['term']);
  const endsAt = exclusiveEndOf(term['endDate']);
  const autoRenew = flagOf(one['autoRenew']);
  const given = one['allowedCustomerOperations'];
  const allowed = (Array.isArray(given) ? given : []).map(textOf).filter((word) => word !== null);
  const can = (word: string): boolean => allowed.some((a) => a.toLowerCase() === word);
  const refs: AzureRefs = {
    publisherId: textOf(one['publisherId']),
    allowedOperations: allowed,
    autoRenew,
    sessionMode: textOf(one['sessionMode']),
    sandboxType: textOf(one['sandboxType']),
  };
  const [purchaser, beneficiary] = [partyOf(one['purchaser']), partyOf(one['beneficiary'])];
  // Purchases through a reseller allow Read only (contract azure §3, parsing traps).
  const readOnly = Array.isArray(given) && allowed.length > 0 && !can('update') && !can('delete');
  return {
    marketplace: 'azure',
    externalSubscriptionId,
    aliases: [],
    state,
    name: textOf(one['name']) ?? textOf(one['subscriptionName']),
    externalOfferId,
    externalPlanId,
    quantity: seatsOf(one['quantity']),
    term: { unit: textOf(term['termUnit']), startsAt: instantOf(term['startDate']), endsAt },
    // Auto-renew off means cancelled at the term's end (contract azure §5); nothing else is announced.
    endsAt: autoRenew === false && (state === 'active' || state === 'suspended') ? endsAt : null,
    purchaser,
    beneficiary,
    reseller: resellerOf(purchaser, beneficiary, readOnly || refs.sandboxType?.toLowerCase() === 'csp'),
    buyerAccountId: buyerOf(beneficiary),
    createdAt: instantOf(one['created']),
    readOnly,
    isTest: flagOf(one['isTest']) ?? false,
    isFreeTrial: flagOf(one['isFreeTrial']) ?? false,
    supersedes: null,
    refs,
    observedAt,
    version: instantOf(one['lastModified'])?.toISOString() ?? null,
  };
}

/** A partner buys in a directory of his own (contract azure §2); rights and sandbox type tell of one even where the directory does not. */
function resellerOf(purchaser: Party | null, beneficiary: Party | null, isResold: boolean): Reseller | null {
  const directory = purchaser?.directoryId ?? null;
  const isOfAnother = directory !== null && beneficiary?.directoryId != null && directory !== beneficiary.directoryId;
  return isResold || isOfAnother ? { accountId: isOfAnother ? directory : null, authorizationId: null } : null;
}

/** Resolve answers an outer object with an inner one; either may lack what the other has. */
export function resolvedTruthOf(raw: unknown, observedAt: Date): SubscriptionTruth | null {
  const outer = fieldsOf(raw);
  const inner: Fields = fieldsOf(outer['subscription']);
  const merged: Fields = { ...outer, name: outer['subscriptionName'] };
  for (const [name, value] of Object.entries(inner)) if (value !== null && value !== undefined && value !== '') merged[name] = value;
  return truthOf(merged, observedAt);
}

/** The directory of every personal Microsoft account (contract azure §2). */
const PERSONAL_ACCOUNTS = '9188040d-6c67-4c5b-b112-36a304b66dad';

/** Who is served, never who paid: a reseller buys for many. Personal accounts share one directory, so there the person counts. */
function buyerOf(beneficiary: Party | null): string | null {
  const directory = beneficiary?.directoryId?.toLowerCase();
  if (directory && directory !== PERSONAL_ACCOUNTS) return `directory:${directory}`;
  const person = beneficiary?.personId ?? beneficiary?.accountId;
  return person ? `person:${person.toLowerCase()}` : null;
}

function partyOf(raw: unknown): Party | null {
  if (!isFields(raw)) return null;
  const party: Party = {
    email: textOf(raw['emailId']),
    personId: textOf(raw['objectId']),
    directoryId: textOf(raw['tenantId']),
    accountId: textOf(raw['puid']),
  };
  return Object.values(party).some((v) => v !== null) ? party : null;
}
