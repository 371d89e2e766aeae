import type { CostPart } from './cost-split.js';
import type { Check, DoctorOptions } from './doctor.js';
import type { MarketplaceRefusal } from './errors.js';
import type { KeyChange } from './key-change.js';
import type { FulfillmentEvent, Marketplace, MarketplaceRefs, RequestedChange, SubscriptionTruth } from './words.js';
import type { Deadlines, ReadBackLine, ReadBackQuery, UsageItemOutcome, UsageTraits, UsageWireItem } from './usage.js';

export interface InboundRequest {
  headers: Record<string, string>;
  query: Record<string, string>;
  /** The raw body as received. */
  body: string;
}

export type InboundVerdict =
  | {
      ok: true;
      /** The inbox source, for example `azure.webhook`. */
      source: string;
      /** The marketplace's own key of this message. */
      naturalKey: string;
      /** Who was verified to have sent it. */
      principal: string;
      /** The sender waits for a decision in our answer (Azure plan and quantity changes). */
      decisionWanted: boolean;
      /** The purchase it names, where the message tells without a further read: its lane keeps fetch order = apply order. */
      externalSubscriptionId?: string | null;
    }
  | { ok: false; status: 400 | 401 | 403 | 413 | 415 | 503; code: string; detail: string };

/** A message that was pulled over an authenticated channel. */
export interface PulledMessage {
  source: string;
  naturalKey: string;
  headers: Record<string, string>;
  body: string;
  principal: string;
  externalSubscriptionId: string | null;
}

/** A message of the inbox, given back for normalising. */
export interface StoredInbound {
  source: string;
  naturalKey: string;
  headers: Record<string, string>;
  body: string;
  receivedAt: Date;
}

export type LandingResolution =
  | {
      ok: true;
      truth: SubscriptionTruth;
      /** Who the landing speaks for, where the marketplace says. */ buyerAccountId: string | null;
      /** Which of the buyer's people it is, by an id that is the marketplace's own and tells no name; null where it names none. */
      visitor?: string | null;
    }
  | {
      ok: false;
      code:
        | 'landing.token_missing'
        | 'landing.token_invalid'
        | 'landing.token_expired'
        | 'landing.not_for_us'
        | 'landing.unavailable'
        | 'landing.awaiting_order';
      detail: string;
      /** With `landing.awaiting_order`: the buyer is known and has signed up; his order is not there yet. */
      signedUp?: { buyerAccountId: string };
      /** With `landing.unavailable`: the marketplace does not take our credentials. */
      refusal?: MarketplaceRefusal;
    };

/** What the house keeps of a purchase, for a read that needs it (the spelling of an AWS licence); null for an unknown purchase. */
export type RecallRefs = (externalSubscriptionId: string) => Promise<MarketplaceRefs | null>;

/** What a message wants from us at its sender's API (SNS: the confirmation of a subscription). Repeating it is safe. */
export interface Handshake {
  /** For the journal of calls. */
  operation: string;
  /** Facts of the request, without its token. */
  intent: unknown;
  /** Of which purchase it is, where it is of one: its history shows it. */
  externalSubscriptionId?: string;
  /** Throws the port's errors; a `MarketplaceRefusal` is final, unless it is about our credentials (401, 403). */
  run(): Promise<unknown>;
}

export type ServiceVerdict = { serve: true } | { serve: false; code: string; detail: string } | { serve: 'unknown'; detail: string };

/** A change or a cancellation that the publisher asks for, with the buyer's consent (contract azure §3). */
export type PublisherChange = { kind: 'plan'; toExternalPlanId: string } | { kind: 'quantity'; toQuantity: number } | { kind: 'cancel' };

/** `superseded`: a newer change has won there. */
export type PublisherChangeState = 'pending' | 'succeeded' | 'failed' | 'superseded';

export interface PublisherChangeProgress {
  state: PublisherChangeState;
  /** To poll by; null where the marketplace gave none, then the purchase itself tells. */
  externalOperationId: string | null;
}

export interface Listing {
  externalOfferId: string;
  externalPlanId: string;
}

/** Facts of how a marketplace lists purchases, used by the drift job. */
export interface ListingTraits {
  /** Its list may be asked for no more often, in business milliseconds. */
  minIntervalMs: number;
  /** What is younger there or here may not be shown yet, in milliseconds. */
  lagMs: number;
}

/**
 * The marketplace port. Adapters are stateless: what they must remember about a purchase is in its `refs`. Methods that read
 * have time-outs; methods that change something are called between a call's intent and outcome by the caller. Errors:
 * `MarketplaceRefusal`, `MarketplaceBusy`, `MarketplaceUnknown`; nothing else is expected.
 */
export interface MarketplaceAdapter {
  readonly marketplace: Marketplace;
  readonly usage: UsageTraits;

  /** Checks the sender of a pushed message; changes nothing. Absent where messages are only pulled. */
  verifyInbound?(request: InboundRequest): Promise<InboundVerdict>;
  /** Turns one stored message into facts, re-reading the truth where messages are only hints. Unknown ones become `noted`. */
  normalise(message: StoredInbound, recall?: RecallRefs): Promise<FulfillmentEvent[]>;
  /** What a verified and stored message wants from us outside, made by the caller between intent and outcome; null for nothing. */
  handshake?(message: StoredInbound): Handshake | null;
  /** The purchase as the marketplace sees it now; null where it does not exist. */
  readTruth(externalSubscriptionId: string, refs?: MarketplaceRefs): Promise<SubscriptionTruth | null>;
  /**
   * Asks the marketplace itself, where `readTruth` answers from what messages told (AWS): what was lost is found so. Known and not
   * shown there is as it was known. Slower, and fails where a service fails that serving a buyer does not need.
   */
  askTruth?(externalSubscriptionId: string, refs?: MarketplaceRefs): Promise<SubscriptionTruth | null>;
  /** Resolves what a buyer brought to the landing page: query or form fields as received, decoded exactly once. */
  resolveLanding(fields: Record<string, string>, recall?: RecallRefs): Promise<LandingResolution>;
  /**
   * Marketplaces without a readable truth (AWS): completes what one message told with what is known of the purchase. Pure.
   * `previous` is null for a purchase not seen before. Absent where `normalise` re-reads the truth.
   */
  mergeTruth?(previous: SubscriptionTruth | null, event: FulfillmentEvent): FulfillmentEvent;
  /**
   * Tells the marketplace that the purchase serves (Azure activate, GCP approve; nothing on AWS). Idempotent by re-reading.
   * Answers changed refs where the adapter has something to remember.
   */
  acknowledge(
    truth: SubscriptionTruth,
    /** `predecessor`: the refs of the purchase whose place this one takes, with its tenant. */
    context: { tenantId: string; predecessor?: MarketplaceRefs },
  ): Promise<MarketplaceRefs | void>;
  /** Approves a buyer who has signed up before any order of his was to be seen (Google). Idempotent by re-reading. */
  approveBuyer?(buyerAccountId: string): Promise<void>;
  /** Refuses an order that waits (Google), and with `alsoBuyer` his sign-up; idempotent by re-reading. In force: `MarketplaceRefusal`. */
  rejectPurchase?(truth: SubscriptionTruth, wish: { reason: string; alsoBuyer: boolean }): Promise<void>;
  /** Shows a text to a buyer whose purchase waits for us, at the marketplace (Google's messageToUser); nothing where none waits. */
  tellBuyer?(externalSubscriptionId: string, message: string): Promise<void>;
  /**
   * Receives messages that are pulled (Google Pub/Sub). `sink` stores the message in one transaction; only when it resolves is
   * the message acknowledged. Present only where messages are pulled.
   */
  pull?(sink: (message: PulledMessage) => Promise<void>): Promise<{ stop(): Promise<void> }>;
  /** Answers a pending change. `refused` must also hold where the marketplace took our earlier answer as a yes. */
  answerChange?(truth: SubscriptionTruth, change: RequestedChange, answer: { accept: boolean; reason?: string }): Promise<void>;
  /**
   * Asks for a change of ours. Safe to repeat after a lost answer: what is in force or on its way already is not asked for again.
   * Absent where the marketplace lets only the buyer change a purchase.
   */
  startPublisherChange?(truth: SubscriptionTruth, change: PublisherChange): Promise<PublisherChangeProgress>;
  /** How far it is. Present where `startPublisherChange` is. */
  readPublisherChange?(
    externalSubscriptionId: string,
    change: PublisherChange,
    externalOperationId: string | null,
  ): Promise<PublisherChangeProgress>;
  /** The status and body with which a decision wanted in the HTTP answer is given. */
  decisionAnswer?(answer: { accept: boolean; reason?: string }): { status: number; body?: unknown };

  /** Builds the wire item of one record; stored before it is sent and never changed. */
  buildUsageItem(input: UsageItemInput): UsageWireItem;
  /** Sends one batch (at most `usage.batchSize` items that `batchKey` lets go together). Outcomes are matched by key, not order. */
  submitUsage(items: UsageWireItem[]): Promise<UsageItemOutcome[]>;
  /** Items with different keys never share a batch (product, region, billing month). */
  batchKey(item: UsageWireItem): string;
  /** What has a rate and a health of its own at the marketplace (a region, a service); items of one batch key share it. Default ''. */
  gateOf?(item: UsageWireItem): string;
  deadlines(input: { hourStart: Date; hourEnd: Date; endedAt: Date | null }): Deadlines;
  /** Loads what `buildUsageItem` needs and no purchase holds (types of metrics). Cached by the adapter; called before each pass. */
  prepareUsage?(): Promise<void>;
  /**
   * Whether the marketplace lets the buyer be served now, where it tells apart from the purchase's own state (Google's billing
   * account). `unknown` changes nothing.
   */
  checkService?(purchase: { externalSubscriptionId: string; refs: MarketplaceRefs }): Promise<ServiceVerdict>;
  /** What the marketplace says it has accepted; absent where it has no read-back (AWS, GCP). */
  readBack?(query: ReadBackQuery): Promise<ReadBackLine[]>;

  /** All purchases of ours the marketplace lists; foreign offers are the caller's to leave alone. */
  listAll?(): AsyncIterable<SubscriptionTruth>;
  /** Present where `listAll` is. */
  readonly listing?: ListingTraits;
  /**
   * What still waits there for a word of ours about this purchase, as the messages that should have told of it: under the same source
   * and natural key, so that one that did arrive is not taken twice. Present where messages can be lost and such a list exists.
   */
  pendingMessages?(externalSubscriptionId: string, refs?: MarketplaceRefs): Promise<PulledMessage[]>;
  /**
   * Private offers under which the buyer has this plan; empty where it is the public price. Present where no message tells them
   * (contract azure §8). Throws as `readTruth` does.
   */
  readPrivateOffers?(externalSubscriptionId: string, externalPlanId: string, refs?: MarketplaceRefs): Promise<string[]>;
  /** Present where purchases in force get another key. */
  readonly keyChange?: KeyChange;
  /** Buyer accounts that wait for our approval (Google); an approval can be lost or taken back without a message. */
  listWaitingBuyers?(): AsyncIterable<{ buyerAccountId: string }>;
  /** Checks of configuration, reachability and, with `listings`, of our catalog against the listing; each with a remedy. Changes nothing. */
  doctor(options?: DoctorOptions): Promise<Check[]>;
  /** The few of them that are worth asking at every start, because nothing else would show the fault; the caller logs them. */
  bootChecks?(): Promise<Check[]>;
}

export interface UsageItemInput {
  /** Our submission item's id; stable over resends (GCP's operation id). */
  itemId: string;
  externalSubscriptionId: string;
  externalPlanId: string;
  dimension: string;
  /** The start of the hour the item is keyed by. */
  hourStart: Date;
  /** True interval of the usage inside that hour. */
  startsAt: Date;
  endsAt: Date;
  /** Exact decimal text, for example `12` or `0.187500`. */
  quantity: string;
  /** How it is split by labels; the parts add up to `quantity`. Absent where it is not split. */
  parts?: CostPart[];
  refs: MarketplaceRefs;
}
