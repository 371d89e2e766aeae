import {
  attemptFaultKinds,
  callFaultKinds,
  type FaultKind,
  heldFaultKinds,
  notificationFaultKinds,
  recordFaultKinds,
  tokenFaultKinds,
} from './faults.js';

/** What each kind does, in one line, and which fields it reads beside the operation. */
export const FAULT_HELP: Record<FaultKind, { does: string; reads?: string }> = {
  status: { does: 'The call is answered with a failure, and nothing happens.', reads: 'status (500), retryAfter' },
  throttle: { does: 'The call is answered "too many calls".', reads: 'retryAfter (5)' },
  time_out_before: { does: 'The call is never answered, and nothing happens.', reads: 'delayMs (120000)' },
  time_out_after: { does: 'The call takes effect and is never answered.', reads: 'delayMs (120000)' },
  drop_before: { does: 'The connection is cut, and nothing happens.' },
  drop_after: { does: 'The call takes effect, then the connection is cut.' },
  delay_before: { does: 'The call waits, then takes effect.', reads: 'delayMs (1000)' },
  delay_after: { does: 'The call takes effect; its answer waits.', reads: 'delayMs (1000)' },
  malformed_after: { does: 'The call takes effect; its answer is broken, its status stays.', reads: 'shape' },
  slow_after: { does: 'The call takes effect; its answer comes byte by byte.', reads: 'delayMs for a byte (1000)' },
  skew: { does: 'The Date of the answer is off.', reads: 'skewMs (-600000)' },
  expired_token: { does: "The call's credential has run out, in the marketplace's own words; nothing happens." },
  duplicate_notification: { does: 'It is sent once more, the same bytes.' },
  reorder_notification: { does: 'It is sent after the next one.' },
  delay_notification: { does: 'It is late, in business time.', reads: 'delayMs (60000)' },
  lose_notification: { does: 'It is never sent; the marketplace holds it for delivered.' },
  slow_notification: { does: 'The body of an attempt comes in pieces.', reads: 'delayMs for all of it (3000)' },
  malformed_notification: { does: 'The body of an attempt is broken.', reads: 'shape' },
  expired_token_notification: { does: 'An attempt carries a token that has run out.' },
  skew_notification: { does: "The times in an attempt's token are off.", reads: 'skewMs (-600000)' },
  unprocessed: { does: 'The last records of a usage batch come back unprocessed and are not billed.', reads: 'records (all)' },
  hold_event: { does: 'The message waits until it is let go (notify), or for a while of business time.', reads: 'delayMs' },
};

export const FAULT_GROUPS: { title: string; kinds: readonly FaultKind[] }[] = [
  { title: 'Calls to the marketplace', kinds: callFaultKinds },
  { title: 'Notifications to the seller', kinds: [...notificationFaultKinds, ...attemptFaultKinds, ...tokenFaultKinds] },
  { title: 'Only one marketplace', kinds: [...recordFaultKinds, ...heldFaultKinds] },
];

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Notifications of managed applications; they carry no token. */
const MANAGED = ['PUT Accepted', 'PUT Succeeded', 'PUT Failed', 'PATCH Succeeded', 'DELETE Deleting', 'DELETE Deleted', 'DELETE Failed'];

/** Names that a call or a notification has in each marketplace; `*` is any. */
export const OPERATIONS: Record<string, { calls: string[]; notifications: string[] }> = {
  azure: {
    calls: words(
      'resolve activate get list plans patch delete listOperations getOperation patchOperation usageEvent batchUsageEvent usageEvents token jwks metadata authorize',
    ),
    notifications: [...words('Subscribe ChangePlan ChangeQuantity Renew Suspend Reinstate Unsubscribe'), ...MANAGED],
  },
  aws: {
    calls: words(
      'resolveCustomer batchMeterUsage getEntitlements searchAgreements describeAgreement getAgreementTerms receiveMessage deleteMessage changeMessageVisibility getQueueAttributes sns sts signingCertificate subscribeUrl',
    ),
    notifications: [
      'Purchase Agreement Created',
      'Purchase Agreement Amended',
      'Purchase Agreement Ended',
      'License Updated',
      'License Deprovisioned',
      'Purchase Agreement Advisory Issued',
      'Purchase Agreement Advisory Resolved',
      'Notification',
      'SubscriptionConfirmation',
    ],
  },
  gcp: {
    calls: words(
      'getAccount listAccounts approveAccount rejectAccount resetAccount getEntitlement listEntitlements approveEntitlement rejectEntitlement approvePlanChange rejectPlanChange suspendEntitlement patchEntitlement check report keys',
    ),
    notifications: words(
      'ACCOUNT_CREATION_REQUESTED ACCOUNT_ACTIVE ACCOUNT_DELETED ENTITLEMENT_CREATION_REQUESTED ENTITLEMENT_OFFER_ACCEPTED ENTITLEMENT_ACTIVE ENTITLEMENT_PLAN_CHANGE_REQUESTED ENTITLEMENT_PLAN_CHANGED ENTITLEMENT_PLAN_CHANGE_CANCELLED ENTITLEMENT_PENDING_CANCELLATION ENTITLEMENT_CANCELLATION_REVERTED ENTITLEMENT_CANCELLING ENTITLEMENT_CANCELLED ENTITLEMENT_RENEWED ENTITLEMENT_OFFER_ENDED ENTITLEMENT_DELETED',
    ),
  },
};

const isForNotifications = (kind: FaultKind): boolean => kind.endsWith('_notification') || kind === 'hold_event';

/** Why a rule could never strike; undefined when it can. */
export function neverStrikes(marketplace: string, operation: string, kind: FaultKind): string | undefined {
  const names = OPERATIONS[marketplace];
  if (!names || operation === '*') return undefined;
  const [mine, others] = isForNotifications(kind) ? [names.notifications, names.calls] : [names.calls, names.notifications];
  if (MANAGED.includes(operation) && tokenFaultKinds.some((one) => one === kind))
    return `${operation} carries no token that ${kind} could strike.`;
  if (mine.includes(operation)) return undefined;
  const what = isForNotifications(kind) ? 'notifications' : 'calls';
  if (others.includes(operation)) return `${kind} strikes ${what}, and ${operation} is none of them.`;
  return `${marketplace} has no ${operation}. It has for ${what}: ${mine.join(', ')}.`;
}
