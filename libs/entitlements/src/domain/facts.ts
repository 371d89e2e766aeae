import type { FulfillmentEvent, SubscriptionTruth } from '#marketplaces/core';

/** What of a purchase makes a cut when it changes: each segment is under one plan, quantity and term. */
export interface PurchaseFacts {
  externalPlanId: string;
  quantity: number | null;
  termStartsAt: Date | null;
  termEndsAt: Date | null;
  termUnit: string | null;
}

export interface FactChanges {
  plan: boolean;
  quantity: boolean;
}

/**
 * How the facts differ from what the marketplace shows. A quantity of null says "this plan has none", which counts only
 * together with a change of plan: some messages leave the number out (contract azure §2).
 */
export function factChanges(facts: PurchaseFacts, truth: SubscriptionTruth): FactChanges {
  const plan = facts.externalPlanId !== truth.externalPlanId;
  return { plan, quantity: facts.quantity !== truth.quantity && (plan || truth.quantity !== null) };
}

export const sameInstant = (a: Date | null, b: Date | null): boolean => (a?.getTime() ?? null) === (b?.getTime() ?? null);

/** Start or end of the term moved there (an amendment may move the end alone, contract aws §4.1); what is not told has not moved. */
export const termDiffers = (facts: Pick<PurchaseFacts, 'termStartsAt' | 'termEndsAt'>, { term }: SubscriptionTruth): boolean =>
  (term.startsAt !== null && !sameInstant(facts.termStartsAt, term.startsAt)) ||
  (term.endsAt !== null && !sameInstant(facts.termEndsAt, term.endsAt));

/** Why nothing comes of an event that is only noted: its own words say more than ours. */
export const notedOf = (event: FulfillmentEvent): string | null => (event.kind === 'noted' ? event.note : null);

/** Where the marketplace gives no version (Azure's `lastModified` of year 1), the view that was asked for later is the newer one. */
export function isOlderView(held: { truthVersion: string | null; truth: SubscriptionTruth }, truth: SubscriptionTruth): boolean {
  if (held.truthVersion && truth.version) return truth.version < held.truthVersion;
  return !held.truthVersion && !truth.version && truth.observedAt.getTime() < new Date(held.truth.observedAt).getTime();
}
