import { addDecimals, parseDecimal, shortText, type Decimal } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { timesDecimal } from './price.js';

/** Upper edges of the time that is left until the hard deadline, in hours; what is later stands under `later`. */
export const AT_RISK_EDGES = [1, 4, 12] as const;
export type LeftWithin = 'missed' | '1h' | '4h' | '12h' | 'later';
export const LEFT_WITHIN: readonly LeftWithin[] = ['missed', '1h', '4h', '12h', 'later'];

/** Frozen hours of one purchase, dimension and plan that the marketplace has not accepted yet, of one deadline. */
export interface WaitingUsage {
  marketplace: Marketplace;
  dimension: string;
  listedUnit: string;
  targetAt: Date;
  hardAt: Date;
  items: number;
  /** Exact decimal text in listed units. */
  units: string;
  /** What a unit costs, null where nobody has told. */
  price: { currency: string; unitPrice: string; provisional: boolean } | null;
}

export interface AtRiskBucket {
  within: LeftWithin;
  items: number;
  dimensions: { dimension: string; listedUnit: string; units: string }[];
  /** One line a currency; there is no total across currencies (money.md "Corrections after the receipt"). */
  amounts: { currency: string; amount: string; provisional: boolean }[];
  /** Units without a known price: they are not in `amounts`, and not 0. */
  unpriced: { dimension: string; listedUnit: string; units: string }[];
}

export interface AtRisk {
  marketplace: Marketplace;
  items: number;
  /** Already later than it should be: what alerts go by (architecture §7 "Deadlines"). */
  pastTarget: number;
  /** The first hard deadline that is not missed yet. */
  nextDeadline: Date | null;
  /** `page`: something is lost within the hour or was missed; `warn`: within four hours, or past its target. */
  alert: 'none' | 'warn' | 'page';
  buckets: AtRiskBucket[];
}

/** What would be lost, and when, if nothing more were accepted: by marketplace and by the time left to the hard deadline. */
export function foldAtRisk(waiting: readonly WaitingUsage[], now: Date): AtRisk[] {
  const marketplaces = [...new Set(waiting.map((w) => w.marketplace))].sort();
  return marketplaces.map((marketplace) => {
    const mine = waiting.filter((w) => w.marketplace === marketplace);
    const buckets = LEFT_WITHIN.map((within) =>
      bucketOf(
        within,
        mine.filter((w) => leftWithin(w.hardAt, now) === within),
      ),
    ).filter((b) => b.items > 0);
    const ahead = mine.filter((w) => w.hardAt > now).map((w) => w.hardAt.getTime());
    const pastTarget = mine.filter((w) => w.targetAt <= now).reduce((sum, w) => sum + w.items, 0);
    const has = (within: LeftWithin): boolean => buckets.some((b) => b.within === within);
    return {
      marketplace,
      items: mine.reduce((sum, w) => sum + w.items, 0),
      pastTarget,
      nextDeadline: ahead.length > 0 ? new Date(ahead.reduce((a, b) => Math.min(a, b))) : null,
      alert: has('missed') || has('1h') ? 'page' : has('4h') || pastTarget > 0 ? 'warn' : 'none',
      buckets,
    };
  });
}

export function leftWithin(hardAt: Date, now: Date): LeftWithin {
  const left = hardAt.getTime() - now.getTime();
  if (left <= 0) return 'missed';
  const edge = AT_RISK_EDGES.find((hours) => left <= hours * 3_600_000);
  return edge === undefined ? 'later' : `${edge}h`;
}

function bucketOf(within: LeftWithin, rows: readonly WaitingUsage[]): AtRiskBucket {
  const dimensions = new Map<string, Decimal>();
  const unpriced = new Map<string, Decimal>();
  const amounts = new Map<string, { sum: Decimal; provisional: boolean }>();
  for (const row of rows) {
    const key = JSON.stringify([row.dimension, row.listedUnit]);
    const units = parseDecimal(row.units);
    dimensions.set(key, plus(dimensions.get(key), units));
    if (row.price === null) unpriced.set(key, plus(unpriced.get(key), units));
    else {
      const known = amounts.get(row.price.currency);
      amounts.set(row.price.currency, {
        sum: plus(known?.sum, parseDecimal(timesDecimal(row.units, row.price.unitPrice))),
        provisional: row.price.provisional || known?.provisional === true,
      });
    }
  }
  return {
    within,
    items: rows.reduce((sum, r) => sum + r.items, 0),
    dimensions: unitLines(dimensions),
    amounts: [...amounts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([currency, { sum, provisional }]) => ({ currency, amount: shortText(sum), provisional })),
    unpriced: unitLines(unpriced),
  };
}

const plus = (a: Decimal | undefined, b: Decimal): Decimal => (a ? addDecimals(a, b) : b);

const unitLines = (sums: Map<string, Decimal>): { dimension: string; listedUnit: string; units: string }[] =>
  [...sums]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, sum]) => {
      const [dimension, listedUnit] = JSON.parse(key) as [string, string];
      return { dimension, listedUnit, units: shortText(sum) };
    });
