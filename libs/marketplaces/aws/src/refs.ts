import type { MarketplaceState, SubscriptionTruth } from '#marketplaces/core';
import { z } from 'zod';
import { entitlementsSchema, expiryOf, isGrantDue, quantityOf } from './entitlements.js';
import { FORMER_KEY } from './legacy/former-key.js';
import { dateOf } from './liberal.js';

/** AWS knows products, not plans: the catalog has one plan of this name for each product. */
export const AWS_PLAN = 'standard';

const instant = z.iso.datetime();
/** A fact and when it was told: of two the later one holds. */
const told = <T extends z.ZodType>(value: T) => z.object({ value, at: instant }).nullable().default(null);

/**
 * All that is known of one licence: the sum of what messages, landings and the Agreement API told; `joinRefs` adds to it in any order with one result.
 */
export const awsRefsSchema = z.looseObject({
  licenseId: z.string(),
  /** As ResolveCustomer spelled it; calls take no other spelling (contract aws §2). */
  licenseArn: z.string().nullable(),
  /** Of a renewal that took over without a landing: its id in the spelling that its predecessor's licence had there. */
  derivedArn: z.string().nullable().default(null),
  accountId: z.string().nullable(),
  productCode: z.string().nullable(),
  /** License Updated came. */
  licensed: z.boolean(),
  /** The tenant serves: our registration is complete. */
  registered: z.boolean(),
  agreementIds: z.array(z.string()),
  /** The first ending event: a terminal status of Ended, or DEPROVISIONED. */
  endedStatus: z.string().nullable().default(null),
  endedAt: instant.nullable().default(null),
  /** What Ended said of the agreement, if that was final: the licence's own end does not tell why. */
  finalStatus: told(z.string()),
  /** The agreement went on as another one with a licence of its own. */
  superseded: told(z.string()),
  offerId: told(z.string()),
  startsAt: told(instant),
  endsAt: told(instant),
  autoRenew: told(z.boolean()),
  /** Of a renewal or replacement: the agreement it follows. */
  previousAgreementId: z.string().nullable().default(null),
  /** The first agreement of its chain of renewals and replacements, its own where it is the first (contract aws §7). */
  initialAgreementId: z.string().nullable().default(null),
  /** The agreements before its own in that chain, youngest first, as the Agreement API told. */
  earlierAgreementIds: told(z.array(z.string())),
  /** A partner who sold it for us, and by which authorisation (CPPO). */
  resellerAccountId: z.string().nullable().default(null),
  resaleAuthorizationId: z.string().nullable().default(null),
  /** A person said that it is this purchase of an old listing, whose hours are its own from the instant on. */
  joins: z.object({ formerId: z.string(), from: instant }).nullable().default(null),
  /** A free trial is among the accepted terms of its agreement. */
  trial: told(z.boolean()),
  /** Of a product with a contract: what GetEntitlements answered last (contract aws §3). */
  entitlements: told(entitlementsSchema),
  /** Entitlements read before this instant may be outdated: a License Updated, or a landing without an answer. */
  entitlementsDueAt: instant.nullable().default(null),
  /** The youngest event time seen. */
  lastEventAt: instant.nullable().default(null),
});
export type AwsRefs = z.output<typeof awsRefsSchema>;

export const NOTHING_KNOWN: AwsRefs = {
  licenseId: '',
  licenseArn: null,
  derivedArn: null,
  accountId: null,
  productCode: null,
  licensed: false,
  registered: false,
  agreementIds: [],
  endedStatus: null,
  endedAt: null,
  finalStatus: null,
  superseded: null,
  offerId: null,
  startsAt: null,
  endsAt: null,
  autoRenew: null,
  previousAgreementId: null,
  initialAgreementId: null,
  earlierAgreementIds: null,
  resellerAccountId: null,
  resaleAuthorizationId: null,
  joins: null,
  trial: null,
  entitlements: null,
  entitlementsDueAt: null,
  lastEventAt: null,
};

/** Null where it is not ours, or holds no licence. */
export function readRefs(raw: unknown): AwsRefs | null {
  const parsed = awsRefsSchema.safeParse(raw);
  return parsed.success ? parsed.data : null;
}

type Told<T> = { value: T; at: string } | null;
const text = (value: unknown): string => JSON.stringify(value) ?? '';

/** Later wins; told at the same instant, the order of arrival must not decide. */
function later<T>(a: Told<T>, b: Told<T>): Told<T> {
  if (!a || !b) return a ?? b;
  if (a.at !== b.at) return a.at > b.at ? a : b;
  return text(a.value) >= text(b.value) ? a : b;
}

const greater = (a: string | null, b: string | null): string | null => (a === null || b === null ? (a ?? b) : a >= b ? a : b);

/** What ResolveCustomer said of buyer and product counts more than an event's word. */
function whose(a: AwsRefs, b: AwsRefs, key: 'accountId' | 'productCode'): string | null {
  if ((a.licenseArn === null) !== (b.licenseArn === null)) return (a.licenseArn === null ? b : a)[key] ?? greater(a[key], b[key]);
  return greater(a[key], b[key]);
}

/** Commutative, associative, and once more changes nothing: so late, repeated and reordered messages end alike (architecture §5.3). */
export function joinRefs(a: AwsRefs, b: AwsRefs): AwsRefs {
  const ends = [a, b].filter((r) => r.endedAt !== null).map((r) => ({ at: r.endedAt!, status: r.endedStatus }));
  // The final hour opens with whichever came first (contract aws §4.3); an end is not undone by anything later.
  const end = ends.sort((x, y) => text([x.at, x.status]).localeCompare(text([y.at, y.status]), 'en'))[0];
  return {
    ...a,
    ...b,
    licenseId: a.licenseId || b.licenseId,
    licenseArn: greater(a.licenseArn, b.licenseArn),
    derivedArn: greater(a.derivedArn, b.derivedArn),
    accountId: whose(a, b, 'accountId'),
    productCode: whose(a, b, 'productCode'),
    licensed: a.licensed || b.licensed,
    registered: a.registered || b.registered,
    agreementIds: [...new Set([...a.agreementIds, ...b.agreementIds])].sort(),
    endedStatus: end?.status ?? null,
    endedAt: end?.at ?? null,
    finalStatus: later(a.finalStatus, b.finalStatus),
    superseded: later(a.superseded, b.superseded),
    offerId: later(a.offerId, b.offerId),
    startsAt: later(a.startsAt, b.startsAt),
    endsAt: later(a.endsAt, b.endsAt),
    autoRenew: later(a.autoRenew, b.autoRenew),
    previousAgreementId: greater(a.previousAgreementId, b.previousAgreementId),
    initialAgreementId: greater(a.initialAgreementId, b.initialAgreementId),
    earlierAgreementIds: later(a.earlierAgreementIds, b.earlierAgreementIds),
    resellerAccountId: greater(a.resellerAccountId, b.resellerAccountId),
    resaleAuthorizationId: greater(a.resaleAuthorizationId, b.resaleAuthorizationId),
    joins: !a.joins || !b.joins ? (a.joins ?? b.joins) : text(a.joins) <= text(b.joins) ? a.joins : b.joins,
    trial: later(a.trial, b.trial),
    entitlements: later(a.entitlements, b.entitlements),
    entitlementsDueAt: greater(a.entitlementsDueAt, b.entitlementsDueAt),
    lastEventAt: greater(a.lastEventAt, b.lastEventAt),
  };
}

export function stateOf(refs: AwsRefs, observedAt: Date): MarketplaceState {
  if (refs.endedAt !== null) return 'ended';
  if (refs.licensed) return refs.registered ? 'active' : 'pending_fulfillment';
  // Signed today, starting later: the licence comes on the day (contract aws §7).
  return refs.startsAt && Date.parse(refs.startsAt.value) > observedAt.getTime() ? 'scheduled' : 'pending_fulfillment';
}

/** How calls spell the licence: as ResolveCustomer did; until a landing comes, as derived from the predecessor (contract aws §2). */
export const callArnOf = (refs: AwsRefs): string | null => refs.licenseArn ?? refs.derivedArn;

/** The predecessor's spelling with this licence's id: both are licences of one product for one buyer. Null where that makes no sense. */
export function deriveArn(refs: AwsRefs, predecessor: AwsRefs | null): string | null {
  const known = predecessor && callArnOf(predecessor);
  if (!known?.toLowerCase().endsWith(predecessor!.licenseId) || predecessor!.accountId !== refs.accountId) return null;
  if (predecessor!.productCode !== refs.productCode) return null;
  return known.slice(0, known.length - predecessor!.licenseId.length) + refs.licenseId;
}

const earlierOf = ({ previousAgreementId, earlierAgreementIds }: AwsRefs): string[] => [
  ...new Set([...(previousAgreementId === null ? [] : [previousAgreementId]), ...(earlierAgreementIds?.value ?? [])]),
];

/** The purchase that the refs describe. */
export function truthOfRefs(refs: AwsRefs, observedAt: Date): SubscriptionTruth {
  const endsAt = dateOf(refs.endsAt?.value);
  return {
    marketplace: 'aws',
    externalSubscriptionId: refs.licenseId,
    aliases: refs.agreementIds.map((externalId) => ({ kind: 'agreement', externalId })),
    state: stateOf(refs, observedAt),
    name: null,
    externalOfferId: refs.productCode ?? '',
    externalPlanId: AWS_PLAN,
    quantity: quantityOf(refs.entitlements?.value),
    // For the calendar of renewals, where no agreement tells (contract aws §3); it ends nothing.
    term: { unit: null, startsAt: dateOf(refs.startsAt?.value), endsAt: endsAt ?? expiryOf(refs.entitlements?.value) },
    // Without renewal the term's end is the end; else only an ending event tells.
    endsAt: dateOf(refs.endedAt) ?? (refs.autoRenew?.value === false ? endsAt : null),
    purchaser: refs.accountId === null ? null : { email: null, personId: null, directoryId: null, accountId: refs.accountId },
    beneficiary: null,
    reseller: refs.resellerAccountId === null ? null : { accountId: refs.resellerAccountId, authorizationId: refs.resaleAuthorizationId },
    readOnly: false,
    isTest: false,
    // Only the accepted terms tell: events carry no flag and the landing's field is an untrusted hint (contract aws §2, §3).
    isFreeTrial: refs.trial?.value === true,
    // Signed is not licensed: until License Updated the predecessor goes on (contract aws §0.5, §4.1).
    supersedes: refs.joins
      ? { kind: FORMER_KEY, externalId: refs.joins.formerId, wholeHoursFrom: refs.joins.from }
      : refs.licensed && refs.previousAgreementId !== null
        ? { kind: 'agreement', externalId: refs.previousAgreementId }
        : null,
    follows: [
      ...(refs.joins ? [{ kind: FORMER_KEY, externalId: refs.joins.formerId }] : []),
      ...earlierOf(refs).map((externalId) => ({ kind: 'agreement', externalId })),
    ],
    // Provisioned only when both halves are there: the licence, and the registration (contract aws §11.2).
    ...(refs.licensed || refs.endedAt !== null ? {} : { unconfirmed: true }),
    ...(isGrantDue(refs) && callArnOf(refs) !== null ? { incomplete: 'quantity' as const } : {}),
    successorExpected: refs.endedAt !== null && refs.finalStatus === null,
    refs,
    observedAt,
    version: refs.lastEventAt,
  };
}
