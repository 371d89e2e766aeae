import { randomInt, randomUUID } from 'node:crypto';
import { type GcpSettings, planOf } from './settings.js';

/** What comes after the end of an offer (contract gcp §3, ENTITLEMENT_OFFER_ENDED; §5). */
export const AFTER_END = ['renew', 'list_price', 'cancel'] as const;

/** The terms of a private offer. They stay at Google: no call and no message shows the price (contract gcp §5). */
export interface PrivateTerms {
  /** Decimal text, per month. */
  price: string | null;
  /** A fixed end; null: the offer has a duration instead (contract gcp §3, "For duration offers"). */
  endsAt: string | null;
  afterEnd: (typeof AFTER_END)[number];
}

/** A replacement that waits for an approval or for its start. */
export interface PendingOffer {
  name: string;
  termMonths: number;
  startsAt: string | null;
  /** Shown only from then on, as the start of a first offer (contract gcp §2, table of states). */
  isApproved: boolean;
  terms: PrivateTerms;
}

export interface OfferRequest {
  price?: string | undefined;
  durationMonths?: number | undefined;
  endsAt?: string | undefined;
  afterEnd?: PrivateTerms['afterEnd'] | undefined;
}

export interface ReplacementRequest extends OfferRequest {
  planId?: string | undefined;
  startsAt?: string | undefined;
  autoApprove?: boolean | undefined;
}

export const termsOf = (offer: OfferRequest): PrivateTerms => ({
  price: offer.price ?? null,
  endsAt: offer.endsAt ?? null,
  afterEnd: offer.afterEnd ?? 'list_price',
});

/** Per month, of the offer or else of the price list. */
export function priceOf(
  one: { plan: string; privateTerms: PrivateTerms | null; offerEndedAt: string | null },
  settings: GcpSettings,
): { amount: string; of: 'private_offer' | 'list' } {
  const own = one.offerEndedAt ? undefined : one.privateTerms?.price;
  if (own) return { amount: own, of: 'private_offer' };
  return { amount: String(planOf(settings, one.plan)?.price ?? 0), of: 'list' };
}

export function offerName(settings: GcpSettings, kind: 'privateOffers' | 'standardOffers'): string {
  return `projects/${randomInt(100_000_000, 999_999_999)}/services/${settings.serviceName}/${kind}/${randomUUID()}`;
}

/** `P1Y6M`, as in the samples (contract gcp §3); empty for an offer with a fixed end. */
export function durationOf(months: number, terms: PrivateTerms | null | undefined): string {
  if (terms?.endsAt) return '';
  const years = Math.floor(months / 12);
  const rest = months % 12;
  return `P${years ? `${years}Y` : ''}${rest || !years ? `${rest}M` : ''}`;
}

/** What a message tells of an offer: the duration or the fixed end, never both (contract gcp §3). */
export function offerExtras(settings: GcpSettings, months: number, terms: PrivateTerms | null | undefined): Record<string, string> {
  return { [settings.offerDurationField]: durationOf(months, terms), newOfferEndTime: terms?.endsAt ?? '' };
}

export function offerEnd(from: Date, months: number, terms: PrivateTerms | null | undefined): string {
  return terms?.endsAt ?? addMonths(from, months);
}

/** The same day of a later month, or its last day. */
export function addMonths(from: Date, months: number): string {
  const to = new Date(from);
  to.setUTCDate(1);
  to.setUTCMonth(to.getUTCMonth() + months);
  const lastDay = new Date(Date.UTC(to.getUTCFullYear(), to.getUTCMonth() + 1, 0)).getUTCDate();
  to.setUTCDate(Math.min(from.getUTCDate(), lastDay));
  return to.toISOString();
}
