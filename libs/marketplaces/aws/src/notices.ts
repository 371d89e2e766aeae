import type { BillingAdjustment, MarketplaceNotice, NoticeKind } from '#marketplaces/core';
import type { Envelope } from './envelope.js';
import { dateOf, type Fields, fieldsOf, instantTextOf, textOf } from './liberal.js';

/** An unanswered request for cancellation is approved by AWS after this (contract aws §4.1). */
const AUTO_APPROVED_MS = 7 * 86_400_000;

const MATTERS: [prefix: string, kind: NoticeKind][] = [
  ['Purchase Agreement Advisory ', 'advisory'],
  ['Agreement Cancellation Request ', 'cancellation_request'],
  ['Purchase Agreement Renewal ', 'renewal'],
  ['Purchase Agreement Ending', 'renewal'],
  ['Purchase Agreement Billing Adjustment ', 'billing_adjustment'],
];
/** Of spending (pay as you go): named in a list of the documents as parts of one name, so with and without the rest of it. */
const SPEND = /(?:^|\s)(Threshold Reached|Vet Succeeded|Vet Failed)$/i;

/** What is open until the last word on it has come. */
const OPEN = new Set(['Issued', 'Pending Approval', 'Ending', 'Upcoming', 'Terms Finalized', 'Threshold Reached', 'Failed', 'Vet Failed']);

/** Events for people (contract aws §4.1): advisories, cancellation requests, renewals, adjustments. Null for all others. */
export function noticeOf(event: Envelope): MarketplaceNotice | null {
  const { eventName, detail } = event;
  const agreement = fieldsOf(detail['agreement']);
  const ofAgreement = textOf(agreement['id']) ?? event.id;
  // An agreement that has ended renews no more.
  if (eventName === 'Purchase Agreement Ended')
    return {
      kind: 'renewal',
      externalId: ofAgreement,
      state: 'closed',
      status: textOf(agreement['status']) ?? 'ended',
      dueAt: null,
      detail: {},
    };
  const spend = SPEND.exec(eventName)?.[1];
  // A vetting that succeeds is the last word on one that failed; each threshold is a matter of its own.
  if (spend) return spendNotice(spend, event, spend.startsWith('Vet') ? `vet:${ofAgreement}` : event.id);
  const matter = MATTERS.find(([prefix]) => eventName.startsWith(prefix));
  if (!matter) return null;
  const [prefix, kind] = matter;
  const status = eventName.slice(prefix.length).trim() || 'Ending';
  const request = fieldsOf(detail['agreementCancellationRequest']);
  const adjustment = fieldsOf(detail['billingAdjustmentRequest'] ?? detail['billingAdjustment']);
  const state = OPEN.has(status) ? 'open' : 'closed';
  const base = { kind, state, status } as const;
  if (kind === 'cancellation_request') {
    const createdAt = instantTextOf(request['createdAt']) ?? event.at;
    const dueAt = state === 'open' && createdAt ? new Date(Date.parse(createdAt) + AUTO_APPROVED_MS) : null;
    return { ...base, externalId: textOf(request['id']) ?? ofAgreement, dueAt, detail: flat(request) };
  }
  if (kind === 'renewal')
    return { ...base, externalId: ofAgreement, dueAt: dateOf(instantTextOf(agreement['endTime'])), detail: flat(agreement) };
  if (kind === 'billing_adjustment')
    return {
      ...base,
      externalId: textOf(adjustment['id']) ?? textOf(adjustment['billingAdjustmentRequestId']) ?? event.id,
      dueAt: null,
      detail: flat(adjustment),
      ...decided(status, adjustment),
    };
  return { ...base, externalId: ofAgreement, dueAt: null, detail: flat(fieldsOf(detail['advisory'])) };
}

/**
 * The last word on an adjustment. The payload of its event is not documented; the names are those of the request's own API, and
 * shorter ones are taken too (contract aws §4.1, §7).
 */
function decided(status: string, fields: Fields): { adjustment?: BillingAdjustment } {
  const word = status.toLowerCase();
  if (word !== 'completed' && word !== 'failed') return {};
  const raw = fields['adjustmentAmount'] ?? fields['amount'];
  const text = typeof raw === 'number' && Number.isFinite(raw) ? String(raw) : textOf(raw);
  const amount = text === null ? null : text.replace(/^-/, '');
  const currency = textOf(fields['currencyCode'] ?? fields['currency'])?.toUpperCase() ?? null;
  return {
    adjustment: {
      outcome: word,
      invoiceReference: textOf(fields['originalInvoiceId']) ?? textOf(fields['invoiceId']),
      amount: amount !== null && /^\d{1,18}(?:\.\d{1,12})?$/.test(amount) && /[1-9]/.test(amount) ? amount : null,
      currency: currency !== null && /^[A-Z]{3}$/.test(currency) ? currency : null,
      reason: (textOf(fields['statusMessage']) ?? textOf(fields['failureReason']) ?? textOf(fields['description']))?.slice(0, 500) ?? null,
    },
  };
}

/** Its payload is documented nowhere: what is flat in it is shown. */
const spendNotice = (status: string, { detail }: Envelope, externalId: string): MarketplaceNotice => ({
  kind: 'spend',
  externalId,
  state: OPEN.has(status) ? 'open' : 'closed',
  status,
  dueAt: null,
  detail: flat({ ...fieldsOf(detail['agreement']), ...detail }),
});

function flat(fields: Fields): Record<string, string> {
  const entries = Object.entries(fields).flatMap(([name, value]) =>
    ['string', 'number', 'boolean'].includes(typeof value) ? [[name, String(value).slice(0, 500)] as const] : [],
  );
  return Object.fromEntries(entries.slice(0, 30));
}
