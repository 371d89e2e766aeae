/** The normalised words. Foreign words stay in the adapters (architecture law 10). */
export const MARKETPLACES = ['azure', 'gcp', 'aws'] as const;
export type Marketplace = (typeof MARKETPLACES)[number];

/** A subscription's states (architecture §8); the adapter translates its marketplace's own. */
export type SubscriptionState = 'scheduled' | 'pending_fulfillment' | 'active' | 'suspended' | 'closing' | 'cancelled' | 'voided';

/** What the marketplace itself says now: `ended` still has usage to settle on our side. */
export type MarketplaceState = 'scheduled' | 'pending_fulfillment' | 'active' | 'suspended' | 'ended' | 'voided';

/** Opaque to everyone but the adapter that made it; schema-checked by it, stored on the subscription, given back at each call. */
export type MarketplaceRefs = Record<string, unknown>;

export interface Party {
  email: string | null;
  personId: string | null;
  directoryId: string | null;
  accountId: string | null;
}

/** A partner who sold a purchase of ours: Azure's CSP, AWS's channel partner (CPPO). Shown only; the purchase is served like any. */
export interface Reseller {
  /** The marketplace's own id of the partner: Azure directory, AWS account. Null where it tells only that there is one. */
  accountId: string | null;
  /** By which authorisation of ours (AWS); null elsewhere. */
  authorizationId: string | null;
}

/** One purchase as its marketplace describes it at `observedAt`. */
export interface SubscriptionTruth {
  marketplace: Marketplace;
  /** The key of the purchase: Azure SaaS subscription id, GCP entitlement id, AWS licence `l-…` id. */
  externalSubscriptionId: string;
  /** Other foreign ids of the same purchase (AWS agreement ids). */
  aliases: { kind: string; externalId: string }[];
  state: MarketplaceState;
  name: string | null;
  externalOfferId: string;
  externalPlanId: string;
  /** Seats or units; null where the plan has none. */
  quantity: number | null;
  term: { unit: string | null; startsAt: Date | null; /** Exclusive end. */ endsAt: Date | null };
  /** Set when the end is known (cancellation pending, fixed end). */
  endsAt: Date | null;
  purchaser: Party | null;
  beneficiary: Party | null;
  /** The partner who sold it in our stead; null: nobody did. Absent where this read does not tell: then it is as it was told before. */
  reseller?: Reseller | null;
  /**
   * Whose purchase it is, where that is not the purchaser's account: Azure's purchaser may be a reseller of many buyers. Null: nobody
   * knows, so nothing is inherited. Absent: the purchaser's account.
   */
  buyerAccountId?: string | null;
  /** When it was bought there, where the marketplace tells. */
  createdAt?: Date | null;
  /** The marketplace lets us neither change nor cancel (CSP). */
  readOnly: boolean;
  isTest: boolean;
  isFreeTrial: boolean;
  /**
   * The purchase whose place this one takes, by one of its foreign ids: a renewal or replacement that is a purchase of its own
   * (AWS: kind `agreement`, the previous one). Set from the moment it may take over, null before and where there is none.
   */
  supersedes: {
    kind: string;
    externalId: string;
    /**
     * It is the same purchase under another key, which its usage is reported under from this instant on (ISO): it takes over at a full
     * hour not before it, and earlier hours that are still to be sent keep their own windows.
     */
    wholeHoursFrom?: string;
  } | null;
  /**
   * The purchases before it in its chain of renewals, nearest first, told already before it may take over: until it does, its
   * buyer's visits are of the one that serves him.
   */
  follows?: { kind: string; externalId: string }[];
  /** The marketplace knows its buyer already, from an earlier sign-up: it is served without another one (contract gcp §1). */
  buyerReady?: boolean;
  /**
   * A landing alone: the marketplace has not said yet that it is in force (AWS: before License Updated, or subscribe-success on an
   * old listing; the payment may fail). Nothing is set up for it.
   */
  unconfirmed?: boolean;
  /**
   * What the marketplace still owes us of it comes without a message, so it is read again until it is there: `usage`, without which
   * none can be reported (Google's usage reporting id); `quantity`, where the service that tells it did not answer (AWS's contracts).
   */
  incomplete?: 'usage' | 'quantity';
  /** It has ended, and as far as the marketplace tells another purchase may take its place: access waits for that one a while. */
  successorExpected?: boolean;
  /** A change that waits for our answer there, whether or not its message came. */
  pendingChange?: RequestedChange;
  /** A plan that was agreed there and comes into force at the end of the cycle. */
  agreedPlanId?: string;
  refs: MarketplaceRefs;
  observedAt: Date;
  /** The marketplace's own version of this view (an update time), comparable as text; an older one never overwrites a newer. */
  version: string | null;
}

/** The closed list of normalised inbound facts. `noted` is stored and shown and changes nothing (unknown actions, hints). */
export type FulfillmentEventKind =
  | 'purchased'
  | 'activated'
  | 'change_requested'
  | 'changed'
  | 'change_dropped'
  | 'renewed'
  | 'suspended'
  | 'reinstated'
  | 'ended'
  | 'end_scheduled'
  | 'end_reverted'
  | 'superseded'
  | 'voided'
  | 'data_deletion_due'
  | 'buyer_ready'
  | 'noted';

export interface RequestedChange {
  /** The marketplace's id of the pending change; our answer refers to it. */
  externalOperationId: string;
  kind: 'plan' | 'quantity';
  toExternalPlanId: string | null;
  toQuantity: number | null;
  /** Real instant until which an answer counts; null where there is none. */
  answerBefore: Date | null;
  /** We asked for it ourselves; it is applied, not decided. */
  requestedByUs: boolean;
  /** It asks for what is in force already (a revert after our refusal): it must be accepted. */
  isRevert?: boolean;
}

export const NOTICE_KINDS = ['advisory', 'cancellation_request', 'renewal', 'billing_adjustment', 'spend'] as const;
export type NoticeKind = (typeof NOTICE_KINDS)[number];

/** A correction of a bill that the marketplace has decided. */
export interface BillingAdjustment {
  outcome: 'completed' | 'failed';
  /** The invoice that is corrected. */
  invoiceReference: string | null;
  /** What is given back, exact decimal text above 0; null where it is not told. */
  amount: string | null;
  currency: string | null;
  reason: string | null;
}

/**
 * What a marketplace tells people about a purchase: a warning about its buyer, a request that waits for the seller, a renewal to
 * come, a correction of a bill. It changes nothing of the purchase.
 */
export interface MarketplaceNotice {
  kind: NoticeKind;
  /** The marketplace's id of the matter; what is told of one matter later replaces what was told before. */
  externalId: string;
  state: 'open' | 'closed';
  /** The marketplace's own word for where it stands. */
  status: string;
  /** Of a `billing_adjustment` that is decided. */
  adjustment?: BillingAdjustment;
  /** When something happens by itself (a request is approved, a term renews); null where nothing does. */
  dueAt: Date | null;
  /** Flat facts as received, texts shortened. */
  detail: Record<string, string>;
}

export interface FulfillmentEvent {
  kind: FulfillmentEventKind;
  marketplace: Marketplace;
  externalSubscriptionId: string;
  /**
   * Set (with an empty external id) where the message names the purchase by another of its ids only (AWS agreement). It is
   * resolved by our aliases; until one is known the message stays parked and is tried again with each new alias.
   */
  alias?: { kind: string; externalId: string };
  /** With `truth: null`: the marketplace deletes its record some time after the end, so that its absence bears the message out. */
  deletedThere?: boolean;
  /** A channel that told us of purchases was closed (an SNS subscription was taken away): a person must know. */
  channelLost?: { channel: string };
  /** Set (with an empty external id) where the message is of a buyer's account: it is told of each purchase of his. */
  buyerAccountId?: string;
  /** When it happened there (business time); orders late events. */
  occurredAt: Date;
  /** The re-read truth; null where it no longer exists (404 after deletion). */
  truth: SubscriptionTruth | null;
  change?: RequestedChange;
  /** For `ended`: the instant access ends. For `end_scheduled`: the future end. */
  effectiveAt?: Date;
  /** For people: the foreign action as received. */
  note: string;
  /** What was read beside the truth and decided on (law 3), without anything of a person; kept with the event, for operators. */
  evidence?: Record<string, unknown>;
  notice?: MarketplaceNotice;
  /** For a person: what of a verified message the marketplace does not bear out, and what was made of it. Raised as a finding. */
  doubt?: string;
}
