import { addDecimals, decimalText, parseDecimal } from '#platform';
import type { RecordFacts } from './journal.js';

/** One record that another catalog or build makes otherwise. Quantities are decimal text in `unit`; null: there is no such record. */
export interface RecordChange {
  subscriptionId: string;
  marketplace: string;
  dimension: string;
  hour: string;
  segmentId: string;
  before: { quantity: string; unit: string; planId: string } | null;
  after: { quantity: string; unit: string; planId: string } | null;
  /** At the prices known for the record's plan and hour; null where one is unknown, or where the unit is another. */
  money: { currency: string; before: string; after: string; difference: string } | null;
}

/** Of the changed records of one dimension, in one unit. */
export interface DimensionChange {
  marketplace: string;
  dimension: string;
  unit: string;
  records: number;
  before: string;
  after: string;
  money: { currency: string; before: string; after: string; difference: string }[];
  /** Records of it without a known price. */
  unpriced: number;
}

export type PricedUnits = (record: RecordFacts) => { currency: string; amount: string } | null;

const keyOf = (r: RecordFacts): string => `${r.hour}/${r.segmentId}/${r.dimension}`;
/** What a marketplace would be told. */
const told = (r: RecordFacts): string => JSON.stringify([r.quantity, r.listedUnit, r.externalPlanId, r.startsAt, r.endsAt]);
const side = (r: RecordFacts | undefined): RecordChange['before'] =>
  r ? { quantity: r.quantity, unit: r.listedUnit, planId: r.externalPlanId } : null;

/** The changed records of one purchase, by hour. `price` answers a record's quantity in money. */
export function compareRecords(before: readonly RecordFacts[], after: readonly RecordFacts[], price: PricedUnits): RecordChange[] {
  const [was, is] = [new Map(before.map((r) => [keyOf(r), r])), new Map(after.map((r) => [keyOf(r), r]))];
  return [...new Set([...was.keys(), ...is.keys()])].sort().flatMap((key) => {
    const [a, b] = [was.get(key), is.get(key)];
    if (a && b && told(a) === told(b)) return [];
    const one = (b ?? a)!;
    const { subscriptionId, marketplace, dimension, hour, segmentId } = one;
    return [{ subscriptionId, marketplace, dimension, hour, segmentId, before: side(a), after: side(b), money: moneyOf(a, b, price) }];
  });
}

function moneyOf(a: RecordFacts | undefined, b: RecordFacts | undefined, price: PricedUnits): RecordChange['money'] {
  // A price is for one listed unit: of another one nobody knows it.
  if (a && b && a.listedUnit !== b.listedUnit) return null;
  const [before, after] = [a && price(a), b && price(b)];
  if (before === null || after === null) return null;
  const currency = (before ?? after)!.currency;
  if (before && after && before.currency !== after.currency) return null;
  const [x, y] = [before?.amount ?? '0', after?.amount ?? '0'];
  return { currency, before: x, after: y, difference: minus(y, x) };
}

/** Sums, each in one unit and currency: nothing is added up over either. */
export function sumChanges(changes: readonly RecordChange[]): DimensionChange[] {
  const sums = new Map<string, DimensionChange>();
  for (const c of changes)
    for (const unit of new Set([c.before?.unit, c.after?.unit].filter((u) => u !== undefined))) {
      const key = JSON.stringify([c.marketplace, c.dimension, unit]);
      const sum = sums.get(key) ?? {
        marketplace: c.marketplace,
        dimension: c.dimension,
        unit,
        records: 0,
        before: '0',
        after: '0',
        money: [],
        unpriced: 0,
      };
      sums.set(key, sum);
      sum.records += 1;
      if (c.before?.unit === unit) sum.before = plus(sum.before, c.before.quantity);
      if (c.after?.unit === unit) sum.after = plus(sum.after, c.after.quantity);
      const { money } = c;
      if (!money) {
        sum.unpriced += 1;
        continue;
      }
      let of = sum.money.find((m) => m.currency === money.currency);
      if (!of) sum.money.push((of = { currency: money.currency, before: '0', after: '0', difference: '0' }));
      of.before = plus(of.before, money.before);
      of.after = plus(of.after, money.after);
      of.difference = plus(of.difference, money.difference);
    }
  return [...sums.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, sum]) => sum);
}

function plus(a: string, b: string, sign = 1n): string {
  const { digits, scale } = parseDecimal(b);
  return decimalText(addDecimals(parseDecimal(a), { digits: sign * digits, scale }));
}
const minus = (a: string, b: string): string => plus(a, b, -1n);
