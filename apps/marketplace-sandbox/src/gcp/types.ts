import type { PendingOffer, PrivateTerms } from './offers.js';

export type ApprovalState = 'PENDING' | 'APPROVED' | 'REJECTED';

/** Instants of the wire are texts with microseconds. */
export interface GcpAccount {
  id: string;
  buyer: string;
  userIdentity: string;
  signUp: ApprovalState;
  reason: string;
  approvalUpdateTime: string;
  createTime: string;
  updateTime: string;
  properties: Record<string, string>;
  /** Of a buyer whom a reseller bills; only the full view shows it (contract gcp §5, Resale). */
  resellerParentBillingAccount: string | null;
}

export type EntitlementState =
  | 'ENTITLEMENT_ACTIVATION_REQUESTED'
  | 'ENTITLEMENT_ACTIVE'
  | 'ENTITLEMENT_PENDING_CANCELLATION'
  | 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL'
  | 'ENTITLEMENT_PENDING_PLAN_CHANGE'
  | 'ENTITLEMENT_CANCELLED';

export interface GcpEntitlement {
  id: string;
  accountId: string;
  plan: string;
  newPendingPlan: string | null;
  /** An approved change waits for the end of the term. */
  changeAtTermEnd: boolean;
  state: EntitlementState;
  offer: string;
  /** Null for an offer at list price. */
  privateTerms: PrivateTerms | null;
  pendingOffer: PendingOffer | null;
  /** Over, and the entitlement goes on at list price; `offerEndTime` stays in the past (contract gcp §2, §5). */
  offerEndedAt: string | null;
  termMonths: number;
  offerEndTime: string | null;
  projectNumber: string;
  /** When the consumer id becomes visible; null before activation. */
  reportingIdAt: string | null;
  reportingIdShown: boolean;
  messageToUser: string;
  cancellationReason: string;
  createTime: string;
  updateTime: string;
  activatedAt: string | null;
  /** An offer that begins later (contract gcp §3, OFFER_ACCEPTED); null: with its approval. */
  startsAt: string | null;
  /** Approved, by the publisher or by Google itself; a start is shown only from then on (contract gcp §2, states). */
  approvedAt: string | null;
  cancelledAt: string | null;
  billingDisabledAt: string | null;
  /** Scripted answer of check, one of contract gcp §4's codes. */
  checkError: string | null;
  /** How many further operations are answered with a report error. */
  reportErrors: number;
  /** Which plan was in force from when. */
  planHistory: { plan: string; from: string }[];
  /** Shared by the messages of the purchase. */
  purchaseEventId: string;
  /** landingFirst: the notifications have not been queued yet. */
  awaitsSignUp: boolean;
}

/** A message on its way to the topic. */
export interface GcpNotification {
  sequence: number;
  entitlementId: string | null;
  accountId: string;
  eventType: string;
  /** Frozen when it happened. */
  body: string;
  state: 'pending' | 'held' | 'reordered' | 'published' | 'lost';
  publishAt: string;
  copies: number;
  messageIds: string[];
}

/** One metric of one accepted operation. */
export interface GcpUsage {
  operationId: string;
  entitlementId: string;
  plan: string;
  metric: string;
  startTime: string;
  endTime: string;
  hour: string;
  /** The user labels of its operation as text; '' without any. */
  labels: string;
  quantity: string;
  acceptedAt: string;
}

export const CHECK_ERROR_CODES = [
  'NOT_FOUND',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'SERVICE_NOT_ACTIVATED',
  'BILLING_DISABLED',
  'PROJECT_DELETED',
  'PROJECT_INVALID',
  'CONSUMER_INVALID',
  'NAMESPACE_LOOKUP_UNAVAILABLE',
  'SERVICE_STATUS_UNAVAILABLE',
  'BILLING_STATUS_UNAVAILABLE',
  'CLOUD_RESOURCE_MANAGER_BACKEND_UNAVAILABLE',
] as const;
