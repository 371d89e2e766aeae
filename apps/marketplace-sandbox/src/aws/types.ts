export type EndStatus = 'CANCELLED' | 'EXPIRED' | 'TERMINATED' | 'RENEWED' | 'REPLACED';
export type Intent = 'NEW' | 'RENEW' | 'REPLACE';

/**
 * The order in which a renewal and the end of its predecessor are told. AWS promises none (contract aws §4.3): `documented` is
 * Created, License Updated, Ended; the others swap the first two, or let the old one end first.
 */
export type HandoverOrder = 'documented' | 'licence_first' | 'old_first';
export interface Handover {
  order: HandoverOrder;
  /** Also send License Deprovisioned for the old licence. */
  deprovision: boolean;
}

/** AWS's own record of a purchase agreement and its one licence. All instants are business time. */
export interface AwsAgreement {
  id: string;
  productCode: string;
  productId: string;
  offerId: string;
  buyerAccountId: string;
  proposerAccountId: string;
  /** Set when a channel partner resells (CPPO); null for a direct offer. */
  resaleAuthorizationId: string | null;
  intent: Intent;
  previousAgreementId: string | null;
  /** How it takes its predecessor's place when it starts; null for a new one. */
  handover: Handover | null;
  /** The same over renewals and replacements. */
  initialAgreementId: string;
  status: 'ACTIVE' | EndStatus;
  licenseId: string;
  order: 'landing_first' | 'licence_first';
  isFreeTrial: boolean;
  /** Absent in rows of older versions: 14. */
  trialDays?: number;
  acceptedAt: string;
  startsAt: string;
  /** Null: pay as you go, no end. */
  endsAt: string | null;
  createdAt: string;
  resolvedAt: string | null;
  /** When License Updated was first sent; before it nothing can be metered. */
  licensedAt: string | null;
  endedAt: string | null;
  deprovisionedAt: string | null;
  /** What SearchAgreements calls lastUpdateTime. */
  updatedAt: string;
  /** Whether a new agreement follows at the end; null: as the offer says, which is no. */
  autoRenews: boolean | null;
}

export interface RegistrationToken {
  /** An agreement, or the customer identifier of a legacy listing. */
  agreementId: string;
  expiresAt: string;
  isUsed: boolean;
}

export interface DeliveryAttempt {
  at: string;
  status: number | null;
  answer: string | null;
  error: string | null;
  tookMs: number;
}

export interface AwsDelivery {
  /** The envelope's id. */
  id: string;
  agreementId: string;
  detailType: string;
  /** Frozen when the event was made; every attempt sends the same bytes. */
  body: string;
  state: 'pending' | 'held' | 'delivered' | 'lost' | 'dropped';
  sequence: number;
  attempts: DeliveryAttempt[];
  attemptCount: number;
  /** The first moment at which it was due; EventBridge gives up 24 h after it. */
  dueAt: string;
  nextAttemptAt: string;
  /** Send it this many more times after the first answer (fault duplicate_notification). */
  repeats: number;
  /** Not the bus's target but a subscription of a topic. */
  subscriptionArn?: string;
}

/** A customer of a legacy listing (contract aws §0.1, §4.2): no agreement and no licence that anybody could see. */
export interface LegacyCustomer {
  customerIdentifier: string;
  accountId: string;
  productCode: string;
  offerId: string;
  isFreeTrial: boolean;
  status: 'pending' | 'subscribed' | 'failed' | 'unsubscribing' | 'unsubscribed';
  subscribedAt: string | null;
  unsubscribePendingAt: string | null;
  /** When unsubscribe-success follows; null unless unsubscribing. */
  closesAt: string | null;
}

export type EntitlementValue = { IntegerValue: number } | { DoubleValue: number } | { BooleanValue: boolean } | { StringValue: string };

/** One version of what a contract grants. */
export interface Entitlement {
  productCode: string;
  /** A licence (`l-…`) or a customer identifier. */
  holder: string;
  accountId: string;
  dimension: string;
  /** Null: taken away. */
  value: EntitlementValue | null;
  expiresAt: string | null;
  /** The service lags behind its own notification. Business time. */
  visibleAt: string;
}

/** Instants of a queue are real time: a lease is no business time. */
export interface QueueMessage {
  id: string;
  queue: string;
  body: string;
  sequence: number;
  visibleAtMs: number;
  receives: number;
  /** Of the last receive. */
  receipt: string | null;
}

export interface TopicSubscription {
  arn: string;
  topicArn: string;
  protocol: 'http' | 'https' | 'sqs';
  endpoint: string;
  token: string;
  isConfirmed: boolean;
}

export interface RoleSession {
  accessKeyId: string;
  secretAccessKey: string;
  token: string;
  accountId: string;
  expiresAtMs: number;
}

export interface AcceptedRecord {
  meteringRecordId: string;
  region: string;
  licenseId: string;
  productCode: string;
  buyerAccountId: string;
  dimension: string;
  /** Start of the UTC hour. */
  hour: string;
  quantity: string;
  /** What makes a repeat identical: timestamp, quantity, allocations. */
  fingerprint: string;
  acceptedAt: string;
}

/** The form that the buyer's browser posts to the fulfilment URL (contract aws §2). */
export interface RegistrationForm {
  url: string;
  method: 'POST';
  fields: Record<string, string>;
}

export interface Entitle {
  dimension: string;
  /** Null: taken away. */
  value: number | boolean | string | null;
  expiresAt?: string;
  /** The service shows it this much later, in business time. */
  lagSeconds?: number;
}
