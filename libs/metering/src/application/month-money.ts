import { setImmediate } from 'node:timers/promises';
import { sumDecimals } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { nameVariance, type VarianceName } from '../domain/money-variance.js';
import { MONEY_GRAIN } from './remittances.js';

export interface MonthMoney {
  marketplace: string;
  grain: 'purchase' | 'agreement' | 'account';
  /** The marketplace's name at its grain; null where it is not known to us. */
  externalId: string | null;
  subscriptionIds: string[];
  /** Several purchases that the report cannot tell apart: compared by their sum. */
  bySum: boolean;
  currency: string | null;
  expected: string | null;
  unpricedUnits: { dimension: string; units: string }[];
  invoiced: string;
  invoices: string[];
  credited: string;
  variance: { name: VarianceName; amount: string | null }[];
}
/** What a purchase's units say of money. */
interface PricedUnits {
  marketplace: string;
  subscriptionId: string;
  test: boolean;
  dimension: string;
  prices: readonly { currency: string; amount: string }[];
  unpriced: string;
}
/** Rows between which others get their turn. */
const ROWS_AT_ONCE = 200;

const keyOf = (marketplace: string, externalId: string | null, currency: string | null): string =>
  JSON.stringify([marketplace, externalId, currency]);

/** The money of a month, at each marketplace's grain and in each currency, added up while its purchases go by, each once. */
export class MonthMoneyRows {
  private readonly rows = new Map<string, MonthMoney>();
  private readonly credits = new Map<string, { currency: string; amount: string }[]>();

  constructor(credits: readonly { subscription_id: string; currency: string; amount: string }[]) {
    for (const c of credits) this.credits.set(c.subscription_id, [...(this.credits.get(c.subscription_id) ?? []), c]);
  }

  /** All rows of some purchases, with the names their marketplace's money has for them. */
  add(units: readonly PricedUnits[], names: ReadonlyMap<string, string | null>): void {
    for (const u of units) {
      if (u.test) continue;
      const { marketplace, subscriptionId } = u;
      const name = names.get(subscriptionId) ?? null;
      for (const p of u.prices) {
        const row = this.at(marketplace, name, p.currency, subscriptionId);
        row.expected = sumDecimals([row.expected!, p.amount]);
      }
      if (u.unpriced !== '0')
        this.at(marketplace, name, null, subscriptionId).unpricedUnits.push({ dimension: u.dimension, units: u.unpriced });
      for (const c of this.credits.get(subscriptionId) ?? []) {
        const row = this.at(marketplace, name, c.currency, subscriptionId);
        row.credited = sumDecimals([row.credited, c.amount]);
      }
      this.credits.delete(subscriptionId);
    }
  }

  /** All rows in order, each with its variance in named parts; `young`: payouts of the month may still come. Ends what was added up. */
  async *named(
    invoiced: readonly { marketplace: string; external_id: string; currency: string; amount: string; invoices: string[] }[],
    young: boolean,
  ): AsyncGenerator<MonthMoney[]> {
    for (const [n, i] of invoiced.entries()) {
      if (n % ROWS_AT_ONCE === 0) await setImmediate();
      Object.assign(this.at(i.marketplace, i.external_id, i.currency, null), { invoiced: i.amount, invoices: i.invoices });
    }
    const keys = [...this.rows.keys()].sort();
    for (let n = 0; n < keys.length; n += ROWS_AT_ONCE) {
      await setImmediate();
      yield keys.slice(n, n + ROWS_AT_ONCE).map((key) => this.withVariance(this.rows.get(key)!, young));
    }
  }

  private withVariance(r: MonthMoney, young: boolean): MonthMoney {
    r.bySum = r.subscriptionIds.length > 1;
    r.variance =
      r.currency === null
        ? [{ name: 'price_unknown', amount: null }]
        : nameVariance({
            expected: r.expected!,
            hasUnpriced: this.rows.has(keyOf(r.marketplace, r.externalId, null)),
            invoiced: r.invoiced,
            credited: r.credited,
            young,
          });
    return r;
  }

  /** Purchases come one after another, so the newest is the only one that can be there already. */
  private at(marketplace: string, externalId: string | null, currency: string | null, subscriptionId: string | null): MonthMoney {
    const key = keyOf(marketplace, externalId, currency);
    let row = this.rows.get(key);
    if (!row)
      this.rows.set(
        key,
        (row = {
          marketplace,
          grain: MONEY_GRAIN[marketplace as Marketplace],
          externalId,
          subscriptionIds: [],
          bySum: false,
          currency,
          expected: currency === null ? null : '0',
          unpricedUnits: [],
          invoiced: '0',
          invoices: [],
          credited: '0',
          variance: [],
        }),
      );
    if (subscriptionId !== null && row.subscriptionIds.at(-1) !== subscriptionId) row.subscriptionIds.push(subscriptionId);
    return row;
  }
}
