import { parseDecimal, shortText } from '#platform';

/** One reading of a price; a newer row of the same key replaces it from its own instant on. */
export interface PriceRow {
  priceId: string;
  marketplace: string;
  externalOfferId: string;
  externalPlanId: string;
  dimension: string;
  /** Negotiated for this purchase; null is the list price. */
  subscriptionId: string | null;
  currency: string;
  /** Decimal text, for one listed unit. */
  unitPrice: string;
  effectiveFrom: Date;
  /** Where it was read, for example `listing of 2026-01`. */
  source: string;
  recordedAt: Date;
}

export interface PriceKey {
  marketplace: string;
  externalOfferId: string;
  externalPlanId: string;
  dimension: string;
  subscriptionId: string;
  /** A private offer's price may be known up to 48 h late (contract azure §8): until then the list price is provisional. */
  privateOffer: boolean;
}

export interface EffectivePrice {
  currency: string;
  unitPrice: string;
  source: string;
  effectiveFrom: Date;
  provisional: boolean;
}

/** The price of a segment's dimension in an hour: its own before the list's, then the newest that is in force. Null: unknown. */
export function effectivePrice(prices: readonly PriceRow[], key: PriceKey, at: Date): EffectivePrice | null {
  const inForce = prices.filter(
    (p) =>
      p.marketplace === key.marketplace &&
      p.externalOfferId === key.externalOfferId &&
      p.externalPlanId === key.externalPlanId &&
      p.dimension === key.dimension &&
      p.effectiveFrom <= at &&
      (p.subscriptionId === null || p.subscriptionId === key.subscriptionId),
  );
  const rank = (p: PriceRow): [number, number, number] => [
    p.subscriptionId === null ? 0 : 1,
    p.effectiveFrom.getTime(),
    p.recordedAt.getTime(),
  ];
  const best = inForce.reduce<PriceRow | null>((b, p) => (b === null || later(rank(p), rank(b)) ? p : b), null);
  if (!best) return null;
  return {
    currency: best.currency,
    unitPrice: best.unitPrice,
    source: best.source,
    effectiveFrom: best.effectiveFrom,
    provisional: key.privateOffer && best.subscriptionId === null,
  };
}

const later = (a: number[], b: number[]): boolean => {
  const i = a.findIndex((x, n) => x !== b[n]);
  return i >= 0 && a[i]! > b[i]!;
};

/** Exact product of two decimals, without trailing zeros: nobody's rounding is guessed. */
export function timesDecimal(a: string, b: string): string {
  const x = parseDecimal(a);
  const y = parseDecimal(b);
  return shortText({ digits: x.digits * y.digits, scale: x.scale + y.scale });
}
