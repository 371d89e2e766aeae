import type { Person } from './settings.js';

export const MARKETPLACE_APP_ID = '20e940b3-4c77-4b0b-9a53-9e16a1b010a7';
export const API_VERSION = '2018-08-31';

export type SubscriptionStatus = 'NotStarted' | 'PendingFulfillmentStart' | 'Subscribed' | 'Suspended' | 'Unsubscribed';
export type OperationAction = 'Subscribe' | 'Unsubscribe' | 'ChangePlan' | 'ChangeQuantity' | 'Suspend' | 'Reinstate' | 'Renew';
export type OperationStatus = 'NotStarted' | 'InProgress' | 'Succeeded' | 'Failed' | 'Conflict';

export interface Term {
  termUnit: string;
  startDate: string;
  /** The last valid day; renewal is the day after (contract azure §3, parsing traps). */
  endDate: string;
}

/** Microsoft's own record of a purchase. All instants are business time. */
export interface AzureSubscription {
  id: string;
  name: string;
  offerId: string;
  publisherId: string;
  planId: string;
  quantity: number | null;
  status: SubscriptionStatus;
  beneficiary: Person;
  purchaser: Person;
  /** The buyer's Azure subscription, shown in the usage read-back. */
  azureSubscriptionId: string;
  term: Term;
  termAnchor: string;
  termIndex: number;
  autoRenew: boolean;
  isTest: boolean;
  isFreeTrial: boolean;
  /** Bought through a reseller (contract azure §3, enums); absent in rows of older versions. */
  isCsp?: boolean;
  allowedCustomerOperations: string[];
  createdAt: string;
  lastModifiedAt: string | null;
  activatedAt: string | null;
  suspendedAt: string | null;
  unsubscribedAt: string | null;
  /** Which plan was in force from when. */
  planHistory: { planId: string; from: string }[];
}

export interface AzureOperation {
  id: string;
  activityId: string;
  subscriptionId: string;
  offerId: string;
  publisherId: string;
  /** Requested values. */
  planId: string;
  quantity: number | null;
  action: OperationAction;
  source: 'Azure' | 'Partner';
  status: OperationStatus;
  errorStatusCode: string;
  errorMessage: string;
  createdAt: string;
  /** Order of creation, for "a newer update won". */
  sequence: number;
  /** When a silent publisher is taken to have accepted; set by the webhook's answer. */
  acceptAt: string | null;
  decidedBy: 'patch' | 'webhook_refused' | 'silence' | 'webhook_gave_up' | 'marketplace' | 'newer_operation' | null;
  decidedAt: string | null;
}

export interface LandingToken {
  subscriptionId: string;
  expiresAt: string;
}

export interface DeliveryAttempt {
  at: string;
  status: number | null;
  answer: string | null;
  error: string | null;
  tookMs: number;
}

export interface AzureDelivery {
  id: string;
  subscriptionId: string;
  operationId: string;
  action: OperationAction;
  offerId: string;
  /** Frozen when the operation was made; every attempt sends the same bytes. */
  body: string;
  state: 'pending' | 'held' | 'delivered' | 'refused' | 'failed' | 'lost';
  sequence: number;
  attempts: DeliveryAttempt[];
  attemptCount: number;
  createdAt: string;
  nextAttemptAt: string;
  /** Send it this many more times after the first answer (fault duplicate_notification). */
  repeats: number;
}

export interface AcceptedUsage {
  usageEventId: string;
  resourceId: string;
  offerId: string;
  planId: string;
  dimension: string;
  /** As received. */
  effectiveStartTime: string;
  hour: string;
  quantity: string;
  acceptedAt: string;
}

/** A managed application in a customer's own subscription (contract azure §7). */
export interface ManagedApp {
  applicationId: string;
  resourceUsageId: string;
  offerId: string;
  planId: string;
  provisioningState: string;
  createdAt: string;
  /** When its deployment succeeded first. */
  activatedAt: string | null;
  deletedAt: string | null;
  planHistory: { planId: string; from: string }[];
}

export interface ManagedNotification {
  id: string;
  applicationId: string;
  sequence: number;
  /** `PUT Succeeded`: the name that faults know it by. */
  name: string;
  body: string;
  /** `held` waits for the next one of its application; `lost` is never sent. */
  state: 'pending' | 'held' | 'delivered' | 'dropped' | 'failed' | 'lost';
  attempts: DeliveryAttempt[];
  /** How often it is still sent once more after it has come. */
  repeats: number;
  createdAt: string;
  nextAttemptAt: string;
}

/** What usage is taken for. */
export type UsageResource = Pick<
  AzureSubscription,
  'offerId' | 'planId' | 'azureSubscriptionId' | 'status' | 'activatedAt' | 'unsubscribedAt' | 'planHistory'
>;
