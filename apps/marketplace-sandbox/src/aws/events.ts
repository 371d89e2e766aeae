import { randomUUID } from 'node:crypto';
import type { AwsContext } from './context.js';
import { licenseArnInEvents } from './licence-arn.js';
import type { AwsSettings } from './settings.js';
import type { AwsAgreement } from './types.js';

/** Times of events have whole seconds. */
export function eventTime(instant: string): string {
  return `${instant.slice(0, 19)}Z`;
}

/** The envelope of contract aws §4.1. Virtual time lives here, never in an HTTP header. */
export function envelope(
  settings: AwsSettings,
  detailType: string,
  at: string,
  agreementId: string | undefined,
  detail: unknown,
): { id: string; [field: string]: unknown } {
  return {
    version: '0',
    id: randomUUID(),
    'detail-type': detailType,
    source: 'aws.agreement-marketplace',
    account: settings.sellerAccountId,
    time: eventTime(at),
    region: settings.region,
    resources: agreementId === undefined ? [] : [`arn:aws:aws-marketplace::aws:agreement:${agreementId}`],
    detail,
  };
}

/** A seller who is both roles gets the Proposer's agreement events only; of a reseller's offer the Manufacturer's (contract aws §4.1). */
export function agreementRole(agreement: AwsAgreement): 'Proposer' | 'Manufacturer' {
  return agreement.resaleAuthorizationId === null ? 'Proposer' : 'Manufacturer';
}

interface Parties {
  acceptor: { accountId: string };
  proposer: { accountId: string; name?: string };
  offer: { id: string };
}

function common(): { requestId: string; catalog: string } {
  return { requestId: randomUUID(), catalog: 'AWSMarketplace' };
}

function parties(agreement: AwsAgreement): Parties {
  return {
    acceptor: { accountId: agreement.buyerAccountId },
    proposer: { accountId: agreement.proposerAccountId },
    offer: { id: agreement.offerId },
  };
}

function resale(agreement: AwsAgreement): { resaleAuthorization: { id: string } | null } {
  return { resaleAuthorization: agreement.resaleAuthorizationId === null ? null : { id: agreement.resaleAuthorizationId } };
}

function terms(agreement: AwsAgreement): Record<string, string> {
  return {
    acceptanceTime: eventTime(agreement.acceptedAt),
    startTime: eventTime(agreement.startsAt),
    // Pay as you go has no end (contract aws §4.1).
    ...(agreement.endsAt === null ? {} : { endTime: eventTime(agreement.endsAt) }),
  };
}

function productTitle(context: AwsContext, agreement: AwsAgreement): { id: string; title: string } {
  return {
    id: agreement.productId,
    title: context.settings().products.find((one) => one.id === agreement.productId)?.title ?? agreement.productId,
  };
}

const nameOf = (settings: AwsSettings, accountId: string): string =>
  settings.resellers.find((one) => one.accountId === accountId)?.name ?? settings.sellerName;

/** No licence in any of them, and for NEW no product (contract aws §4.1). */
export function createdDetail(context: AwsContext, agreement: AwsAgreement, namesPrevious: boolean): object {
  const { id, intent, previousAgreementId } = agreement;
  const base = { id, intent, status: 'ACTIVE', ...terms(agreement) };
  if (intent === 'NEW') return { ...common(), agreement: base, ...resale(agreement), ...parties(agreement) };
  const { acceptor, proposer, offer } = parties(agreement);
  return {
    ...common(),
    agreement: { ...base, ...(namesPrevious ? { previousAgreementId } : {}) },
    product: productTitle(context, agreement),
    acceptor,
    // A partner's offer is his on a renewal, too.
    ...(agreement.resaleAuthorizationId === null ? {} : resale(agreement)),
    proposer: { name: nameOf(context.settings(), proposer.accountId), ...proposer },
    offer,
  };
}

export function amendedDetail(context: AwsContext, agreement: AwsAgreement, autoRenewalEnabled: boolean | undefined): object {
  return {
    ...common(),
    agreement: {
      id: agreement.id,
      intent: 'AMEND',
      status: agreement.status,
      ...terms(agreement),
      ...(autoRenewalEnabled === undefined ? {} : { autoRenewalEnabled }),
    },
    ...(autoRenewalEnabled === false
      ? { renewalSummary: { lockoutStartTime: eventTime(context.clock.now().toISOString()), disabledBy: 'ACCEPTOR' } }
      : {}),
    product: productTitle(context, agreement),
    ...resale(agreement),
    ...parties(agreement),
  };
}

/** Intent is absent on Ended. */
export function endedDetail(agreement: AwsAgreement): object {
  return { ...common(), agreement: { id: agreement.id, status: agreement.status }, ...resale(agreement), ...parties(agreement) };
}

/** License Updated and License Deprovisioned have the same fields: the join of agreement, product and licence. */
export function licenseDetail(context: AwsContext, agreement: AwsAgreement): object {
  return {
    ...common(),
    agreement: { id: agreement.id },
    product: { code: agreement.productCode, id: agreement.productId },
    license: { arn: licenseArnInEvents(context.settings(), agreement.licenseId) },
    ...parties(agreement),
  };
}

export function advisoryDetail(context: AwsContext, agreement: AwsAgreement, kind: 'Issued' | 'Resolved'): object {
  const at = eventTime(context.clock.now().toISOString());
  return {
    ...common(),
    agreement: { id: agreement.id },
    product: { code: agreement.productCode, id: agreement.productId },
    ...parties(agreement),
    advisory: kind === 'Issued' ? { issuedAt: at } : { resolvedAt: at },
  };
}

export interface BillAdjustment {
  outcome: 'completed' | 'failed';
  id?: string | undefined;
  invoiceId: string;
  amount: string;
  currency: string;
  reason?: string | undefined;
}

/** The fields of the request in the Agreement API; the event's own are not documented (contract aws §7). */
export function billDetail(agreement: AwsAgreement, bill: BillAdjustment): object {
  return {
    ...common(),
    agreement: { id: agreement.id },
    billingAdjustmentRequest: {
      id: bill.id ?? `ba-${randomUUID()}`,
      originalInvoiceId: bill.invoiceId,
      adjustmentAmount: bill.amount,
      currencyCode: bill.currency,
      status: bill.outcome === 'completed' ? 'COMPLETED' : 'VALIDATION_FAILED',
      ...(bill.reason === undefined ? {} : { statusMessage: bill.reason }),
    },
    ...parties(agreement),
  };
}
