import { durationOf } from './offers.js';
import type { GcpSettings } from './settings.js';
import { consumerOf } from './state.js';
import type { GcpAccount, GcpEntitlement } from './types.js';

/** Real answers leave unset fields out (contract gcp §2). */
function setOnly(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== ''));
}

export function accountName(settings: GcpSettings, id: string): string {
  return `providers/${settings.providerId}/accounts/${id}`;
}

/** `isFull`: asked for with ACCOUNT_VIEW_FULL (contract gcp §2). */
export function accountWire(account: GcpAccount, settings: GcpSettings, isFull = false): object {
  return {
    name: accountName(settings, account.id),
    provider: settings.providerId,
    state: 'ACCOUNT_ACTIVE',
    approvals: [setOnly({ name: 'signup', state: account.signUp, reason: account.reason, updateTime: account.approvalUpdateTime })],
    createTime: account.createTime,
    updateTime: account.updateTime,
    ...(isFull && account.resellerParentBillingAccount ? { resellerParentBillingAccount: account.resellerParentBillingAccount } : {}),
  };
}

export function entitlementWire(one: GcpEntitlement, settings: GcpSettings): Record<string, unknown> {
  const started = one.activatedAt !== null;
  const next = one.pendingOffer;
  const waits = started ? next?.isApproved : one.approvedAt;
  return setOnly({
    name: `providers/${settings.providerId}/entitlements/${one.id}`,
    account: accountName(settings, one.accountId),
    provider: settings.providerId,
    product: settings.product,
    productExternalName: settings.productExternalName ?? settings.product,
    plan: one.plan,
    newPendingPlan: one.newPendingPlan,
    state: one.state,
    offer: one.offer,
    offerDuration: durationOf(one.termMonths, one.privateTerms),
    newPendingOffer: next?.name,
    newPendingOfferDuration: next && durationOf(next.termMonths, next.terms),
    newOfferStartTime: waits && settings.showsNewOfferStart ? (started ? next?.startsAt : one.startsAt) : undefined,
    newOfferEndTime: next?.terms.endsAt,
    offerEndTime: one.offerEndTime,
    subscriptionEndTime: one.offerEndTime,
    orderId: one.id,
    usageReportingId: one.reportingIdShown ? consumerOf(one) : undefined,
    consumers: started ? [{ project: `projects/${one.projectNumber}` }] : undefined,
    messageToUser: one.messageToUser,
    cancellationReason: one.cancellationReason,
    createTime: one.createTime,
    updateTime: one.updateTime,
  });
}

export function filterAttributes(one: GcpEntitlement, settings: GcpSettings): Record<string, string | undefined> {
  return {
    account: one.accountId,
    product_external_name: settings.productExternalName ?? settings.product,
    offer: one.offer,
    new_pending_offer: one.pendingOffer?.name,
    plan: one.plan,
    new_pending_plan: one.newPendingPlan ?? undefined,
    state: one.state,
    services: settings.serviceName,
    'consumers.project': `projects/${one.projectNumber}`,
  };
}
