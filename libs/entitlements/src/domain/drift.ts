import type { MarketplaceState, SubscriptionState, SubscriptionTruth } from '#marketplaces/core';
import { factChanges, sameInstant, termDiffers, type PurchaseFacts } from './facts.js';
import { isOver, SERVICE_CHECK } from './subscription-states.js';

export type DriftDifference = 'missing_there' | 'missing_here' | 'state' | 'plan' | 'quantity' | 'term' | 'change';

/** States of the marketplace that our state stands for. Scheduled and pending both wait, one of them for a day. */
const AGREES: Record<SubscriptionState, readonly MarketplaceState[]> = {
  scheduled: ['scheduled', 'pending_fulfillment'],
  pending_fulfillment: ['pending_fulfillment', 'scheduled'],
  active: ['active'],
  suspended: ['suspended'],
  closing: ['ended', 'voided'],
  cancelled: ['ended', 'voided'],
  voided: ['ended', 'voided'],
};

/** How a purchase of ours differs from what its marketplace lists; nothing of an ended one but its state can differ. */
export function differencesOf(
  ours: PurchaseFacts & { state: SubscriptionState; endsAt: Date | null; suspendedSource?: string | null },
  theirs: SubscriptionTruth,
): DriftDifference[] {
  // Held by a service check, it is in force there all the same.
  const state = ours.state === 'suspended' && ours.suspendedSource === SERVICE_CHECK ? 'active' : ours.state;
  const found: DriftDifference[] = AGREES[state].includes(theirs.state) ? [] : ['state'];
  if (isOver(ours.state) || isOverThere(theirs)) return found;
  const changed = factChanges(ours, theirs);
  if (changed.plan) found.push('plan');
  if (changed.quantity) found.push('quantity');
  // Also a cancellation at the end of the term, or its reversal, of which no message came.
  if (termDiffers(ours, theirs) || !sameInstant(ours.endsAt, theirs.endsAt)) found.push('term');
  return found;
}

const isOverThere = (truth: SubscriptionTruth): boolean => truth.state === 'ended' || truth.state === 'voided';

/** One text for an id of a kind. */
export const nameOf = (id: { kind: string; externalId: string }): string => `${id.kind}/${id.externalId}`;

/**
 * What came and went without us, but stands between a purchase that is in force and one of ours: a renewal that was renewed
 * itself. Its successor can take the place of ours only if this link is known too (ADR 0013). Answers external ids.
 */
export function missingLinks(
  listed: Map<string, SubscriptionTruth>,
  isKnown: (externalSubscriptionId: string) => boolean,
  /** Names of purchases of ours (`nameOf`). */
  knownNames: ReadonlySet<string>,
): Set<string> {
  const byName = new Map([...listed.values()].flatMap((truth) => truth.aliases.map((alias) => [nameOf(alias), truth] as const)));
  const links = new Set<string>();
  for (const newest of listed.values()) {
    if (isOverThere(newest)) continue;
    const way: string[] = [];
    for (let id = newest.supersedes; id;) {
      if (knownNames.has(nameOf(id))) {
        way.forEach((link) => links.add(link));
        break;
      }
      const before = byName.get(nameOf(id));
      if (!before || !isOverThere(before) || way.includes(before.externalSubscriptionId)) break;
      if (isKnown(before.externalSubscriptionId)) break;
      way.push(before.externalSubscriptionId);
      id = before.supersedes;
    }
  }
  return links;
}

/** A purchase that the marketplace should list: an ended one may be gone from there. */
export const isExpectedThere = (state: SubscriptionState): boolean => !isOver(state);

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

/** When the marketplace changed the purchase last, where its version is an update time. */
export function changedThereAt(truth: SubscriptionTruth): Date | null {
  if (!truth.version || !INSTANT.test(truth.version)) return null;
  const at = new Date(truth.version);
  return Number.isNaN(at.getTime()) ? null : at;
}

/** One side has moved so lately that the other need not have heard of it (money.md "What can be compared"). */
export function isYoung(changes: (Date | null)[], now: Date, lagMs: number): boolean {
  return changes.some((at) => at !== null && now.getTime() - at.getTime() < lagMs);
}
