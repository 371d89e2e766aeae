import type { FulfillmentEvent, MarketplaceState, SubscriptionTruth } from '#marketplaces/core';
import { z } from 'zod';
import { entitlementsSchema, expiryOf, isGrantDue, quantityOf } from '../entitlements.js';
import { dateOf } from '../liberal.js';
import { FORMER_KEY } from './former-key.js';
import { AWS_PLAN } from '../refs.js';

const instant = z.iso.datetime().nullable();

/**
 * All that is known of one customer of one legacy listing: there is no licence and no agreement (contract aws §4.2). Every field
 * only grows, so messages in any order end alike.
 */
export const legacyRefsSchema = z.object({
  contract: z.literal('legacy'),
  productCode: z.string(),
  customerIdentifier: z.string(),
  /** Which of this customer's subscriptions, from 1: one that has ended is not opened again. */
  generation: z.number().int().positive().default(1),
  accountId: z.string().nullable(),
  /** The tenant serves. */
  registered: z.boolean(),
  /** The youngest of each kind of message. */
  succeededAt: instant,
  failedAt: instant,
  /** The oldest: the final hour opens with it. */
  endedAt: instant,
  closedAt: instant,
  offerId: z.object({ value: z.string(), at: z.iso.datetime() }).nullable(),
  freeTrial: z.object({ value: z.boolean(), at: z.iso.datetime() }).nullable(),
  entitlements: z.object({ value: entitlementsSchema, at: z.iso.datetime() }).nullable(),
  /** Entitlements read before this instant may be outdated. */
  entitlementsDueAt: instant.default(null),
  /** The licence that a person joined it with: later hours are reported under that, in this spelling. */
  joined: z.object({ licenseId: z.string(), licenseArn: z.string(), accountId: z.string() }).nullable().default(null),
  lastEventAt: instant,
});
export type LegacyRefs = z.output<typeof legacyRefsSchema>;

export const legacyIdOf = (productCode: string, customerIdentifier: string, generation = 1): string =>
  `legacy:${productCode}:${customerIdentifier}${generation === 1 ? '' : `:${generation}`}`;

export const idOf = (refs: LegacyRefs): string => legacyIdOf(refs.productCode, refs.customerIdentifier, refs.generation);

export const newLegacyRefs = (productCode: string, customerIdentifier: string, generation = 1): LegacyRefs => ({
  generation,
  contract: 'legacy',
  productCode,
  customerIdentifier,
  accountId: null,
  registered: false,
  succeededAt: null,
  failedAt: null,
  endedAt: null,
  closedAt: null,
  offerId: null,
  freeTrial: null,
  entitlements: null,
  entitlementsDueAt: null,
  joined: null,
  lastEventAt: null,
});

export function readLegacyRefs(raw: unknown): LegacyRefs | null {
  const parsed = legacyRefsSchema.safeParse(raw);
  return parsed.success ? parsed.data : null;
}

type Told<T> = { value: T; at: string } | null;
const later = <T>(a: Told<T>, b: Told<T>): Told<T> => {
  if (!a || !b) return a ?? b;
  if (a.at !== b.at) return a.at > b.at ? a : b;
  return JSON.stringify(a.value) >= JSON.stringify(b.value) ? a : b;
};
const greater = (a: string | null, b: string | null): string | null => (a === null || b === null ? (a ?? b) : a >= b ? a : b);
const lesser = (a: string | null, b: string | null): string | null => (a === null || b === null ? (a ?? b) : a <= b ? a : b);

/** Commutative, associative, idempotent, as `joinRefs`. */
export function joinLegacyRefs(a: LegacyRefs, b: LegacyRefs): LegacyRefs {
  return {
    ...a,
    accountId: greater(a.accountId, b.accountId),
    registered: a.registered || b.registered,
    succeededAt: greater(a.succeededAt, b.succeededAt),
    failedAt: greater(a.failedAt, b.failedAt),
    endedAt: lesser(a.endedAt, b.endedAt),
    closedAt: greater(a.closedAt, b.closedAt),
    offerId: later(a.offerId, b.offerId),
    freeTrial: later(a.freeTrial, b.freeTrial),
    entitlements: later(a.entitlements, b.entitlements),
    entitlementsDueAt: greater(a.entitlementsDueAt, b.entitlementsDueAt),
    joined: !a.joined || !b.joined ? (a.joined ?? b.joined) : a.joined.licenseArn <= b.joined.licenseArn ? a.joined : b.joined,
    lastEventAt: greater(a.lastEventAt, b.lastEventAt),
  };
}

/** The payment failed before any success. After one, a failure is of another offer to the same customer, and what is paid goes on. */
export const isVoided = (refs: LegacyRefs): boolean => refs.endedAt === null && refs.succeededAt === null && refs.failedAt !== null;

/** Until a subscribe-success nothing is enabled, also not after a landing: the payment may have failed (contract aws §4.2). */
export function legacyStateOf(refs: LegacyRefs): MarketplaceState {
  if (refs.endedAt !== null) return 'ended';
  if (isVoided(refs)) return 'voided';
  return refs.succeededAt !== null && refs.registered ? 'active' : 'pending_fulfillment';
}

export function legacyTruth(refs: LegacyRefs, observedAt: Date): SubscriptionTruth {
  return {
    marketplace: 'aws',
    externalSubscriptionId: idOf(refs),
    // Only where a person said so may a licence take its place by this name.
    aliases: refs.joined ? [{ kind: FORMER_KEY, externalId: idOf(refs) }] : [],
    state: legacyStateOf(refs),
    name: null,
    externalOfferId: refs.productCode,
    externalPlanId: AWS_PLAN,
    quantity: quantityOf(refs.entitlements?.value),
    term: { unit: null, startsAt: dateOf(refs.succeededAt), endsAt: expiryOf(refs.entitlements?.value) },
    endsAt: dateOf(refs.endedAt),
    supersedes: null,
    purchaser: refs.accountId === null ? null : { email: null, personId: null, directoryId: null, accountId: refs.accountId },
    beneficiary: null,
    readOnly: false,
    isTest: false,
    // Only a legacy notification tells of a trial, and AWS signs it.
    isFreeTrial: refs.freeTrial?.value ?? false,
    ...(refs.succeededAt !== null || refs.endedAt !== null || isVoided(refs) ? {} : { unconfirmed: true }),
    ...(isGrantDue(refs) ? { incomplete: 'quantity' as const } : {}),
    refs,
    observedAt,
    version: refs.lastEventAt,
  };
}

/** As `mergeTruth`, for a legacy purchase. */
export function mergeLegacy(before: LegacyRefs | null, told: LegacyRefs, previous: SubscriptionTruth | null, event: FulfillmentEvent) {
  // Told late, after the subscription that followed it: that one goes on (contract aws §4.2).
  if (before && told.endedAt !== null && before.endedAt === null && before.succeededAt !== null && told.endedAt < before.succeededAt) {
    const truth = legacyTruth({ ...before, lastEventAt: greater(before.lastEventAt, told.lastEventAt) }, previous!.observedAt);
    return { ...event, kind: 'noted' as const, truth, note: `${event.note}: of an earlier subscription` };
  }
  const joined = before ? joinLegacyRefs(before, told) : told;
  const observedAt = new Date(Math.max(previous?.observedAt.getTime() ?? 0, event.truth?.observedAt.getTime() ?? 0));
  const truth = legacyTruth(joined, observedAt);
  const merged: FulfillmentEvent = { ...event, truth };
  const isOver = truth.state === 'ended' || truth.state === 'voided';
  if (event.kind === 'ended')
    return isOver
      ? { ...merged, effectiveAt: truth.endsAt ?? event.occurredAt }
      : { ...merged, kind: 'noted' as const, note: `${event.note}: of another offer; what is paid goes on` };
  if (isOver && event.kind !== 'noted') return { ...merged, kind: 'noted' as const, note: `${event.note}: the purchase has ended` };
  if (event.kind === 'purchased' && truth.state === 'active') return { ...merged, kind: 'activated' as const };
  return merged;
}
