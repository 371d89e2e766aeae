import { ProblemError, sumDecimals, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { foreignNamesOf, readPlanVersions, readSegments, readSubscriptions } from '#entitlements';
import { unitsForPeople } from '../domain/explain-words.js';
import { nameVariance, type VarianceName } from '../domain/money-variance.js';
import { timesDecimal } from '../domain/price.js';
import { LEDGER_TERMS, sumDifference, type TermSums } from '../domain/sum-terms.js';
import {
  monthCredits,
  monthFindings,
  monthInvoiced,
  monthPayouts,
  monthRecords,
  monthSamples,
  monthTerms,
  openThings,
  type MonthPayout,
  type MonthSpan,
} from '../infra/month.sql.js';
import { PriceBook } from '../infra/prices.sql.js';
import type { MeteringDeps } from './deps.js';
import { MONEY_GRAIN } from './remittances.js';

/** After so long a month's money is expected in payouts; no marketplace promises a date for all of it. */
const MONEY_LAG_DAYS = 45;

export interface MonthUnits {
  marketplace: string;
  subscriptionId: string;
  externalSubscriptionId: string;
  test: boolean;
  meter: string;
  planId: string;
  dimension: string;
  listedUnit: string;
  basePerUnit: string;
  /** Samples read by the closings of the whole series; on its first row only, since samples belong to no plan. */
  samples: string;
  /** Base units, exact; `difference` is 0 where the sum law holds. */
  terms: TermSums;
  difference: bigint;
  records: number;
  recorded: string;
  receipts: number;
  accepted: string;
  /** Recorded and never sent by us, in listed units: another kit sends it, or it is invoiced outside the marketplace. */
  shadow: string;
  invoicedOutside: string;
  prices: { currency: string; unitPrice: string; source: string; provisional: boolean; units: string; amount: string }[];
  /** Accepted units whose price is not known. */
  unpriced: string;
}
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
export interface ClosedMonth {
  month: string;
  state: 'final' | 'provisional';
  because: string[];
  moneyExpectedBy: Date;
  units: MonthUnits[];
  money: MonthMoney[];
  payouts: MonthPayout[];
  findings: { kind: string; open: number; settled: number }[];
}

/**
 * A month from sample to payout, each marketplace at the grain its reports have. Reads only; no sum goes over two currencies,
 * and test purchases have units and no money (money.md "Terms").
 */
export async function closeMonth(
  tx: Tx,
  deps: MeteringDeps,
  q: { month: string; marketplace?: Marketplace; requireFinal: boolean },
): Promise<ClosedMonth> {
  if (!/^\d{4}-(0[1-9]|1[0-2])$/.test(q.month)) throw new ProblemError('validation', 'month.malformed', 'A month is written like 2026-03.');
  const from = new Date(`${q.month}-01T00:00:00Z`);
  const to = new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + 1, 1));
  const span: MonthSpan = { from, to, marketplace: q.marketplace ?? null };
  const because = await whyOpen(tx, span, deps.clock.now());
  if (q.requireFinal && because.length > 0)
    throw new ProblemError('conflict', 'month.open', `${q.month} is not final: ${because.join('; ')}.`);
  const units = await unitsOf(tx, span);
  const moneyExpectedBy = new Date(to.getTime() + MONEY_LAG_DAYS * 86_400_000);
  return {
    month: q.month,
    state: because.length === 0 ? 'final' : 'provisional',
    because,
    moneyExpectedBy,
    units,
    money: await moneyOf(tx, span, q.month, units, deps.clock.now() < moneyExpectedBy),
    payouts: await monthPayouts(tx, q.month, span.marketplace),
    findings: await monthFindings(tx, span),
  };
}

async function whyOpen(tx: Tx, span: MonthSpan, now: Date): Promise<string[]> {
  const open = await openThings(tx, span);
  return [
    ...(now < span.to ? ['the month is not over'] : []),
    ...(open.hours > 0 ? [`${open.hours} series have hours that are not closed`] : []),
    ...(open.late > 0 ? [`${open.late} closed hours have late samples that are not absorbed`] : []),
    ...(open.carryIns > 0 ? [`${open.carryIns} amounts wait for a later hour`] : []),
    ...open.items.map((i) => `${i.n} submissions are ${i.state}`),
  ];
}

async function unitsOf(tx: Tx, span: MonthSpan): Promise<MonthUnits[]> {
  const terms = await monthTerms(tx, span);
  const ids = [...new Set(terms.map((t) => t.subscription_id))];
  const purchases = await readSubscriptions(tx, ids);
  const segments = new Map(
    (await readSegments(tx, { subscriptionIds: ids, from: new Date(0), to: new Date(8.64e15 / 4) })).map((s) => [s.segmentId, s]),
  );
  const plans = await readPlanVersions(
    tx,
    [...segments.values()].map((s) => s.planVersionId),
  );
  const samples = new Map((await monthSamples(tx, span)).map((s) => [`${s.subscription_id}/${s.meter}`, s.samples]));
  const rows = new Map<string, MonthUnits>();
  const keyOf = (subscriptionId: string, meter: string, planId: string): string => `${subscriptionId}/${meter}/${planId}`;
  for (const t of terms) {
    const segment = t.segment_id === null ? undefined : segments.get(t.segment_id);
    const m = segment && plans.get(segment.planVersionId)?.meters.find((x) => x.meter === t.meter);
    const planId = segment?.externalPlanId ?? '';
    const key = keyOf(t.subscription_id, t.meter, planId);
    let row = rows.get(key);
    if (!row) {
      const series = `${t.subscription_id}/${t.meter}`;
      const purchase = purchases.get(t.subscription_id);
      row = {
        marketplace: t.marketplace,
        subscriptionId: t.subscription_id,
        externalSubscriptionId: purchase?.external_subscription_id ?? '',
        test: purchase?.is_test ?? false,
        meter: t.meter,
        planId,
        dimension: m?.dimension ?? '',
        listedUnit: m?.listedUnit ?? '',
        basePerUnit: m?.basePerUnit ?? '1',
        samples: samples.get(series) ?? '0',
        terms: Object.fromEntries(LEDGER_TERMS.map((x) => [x, 0n])) as TermSums,
        difference: 0n,
        records: 0,
        recorded: '0',
        receipts: 0,
        accepted: '0',
        shadow: '0',
        invoicedOutside: '0',
        prices: [],
        unpriced: '0',
      };
      samples.delete(series);
      rows.set(key, row);
    }
    row.terms[t.term as keyof TermSums] += BigInt(t.quantity);
  }
  const book = await PriceBook.load(tx, ids);
  const changes = book.changes().filter((c) => c > span.from && c < span.to);
  for (const r of await monthRecords(tx, span, changes)) {
    const row = rows.get(keyOf(r.subscription_id, r.meter, r.external_plan_id));
    if (!row) continue;
    row.records += r.records;
    row.receipts += r.receipts;
    row.recorded = sumDecimals([row.recorded, r.recorded]);
    row.accepted = sumDecimals([row.accepted, r.accepted]);
    row.shadow = sumDecimals([row.shadow, r.shadow]);
    row.invoicedOutside = sumDecimals([row.invoicedOutside, r.invoiced]);
    const price = book.at(r.subscription_id, r.dimension, r.first_hour, r.external_plan_id);
    if (!price) row.unpriced = sumDecimals([row.unpriced, r.accepted]);
    else {
      const { currency, unitPrice, source, provisional } = price;
      row.prices.push({ currency, unitPrice, source, provisional, units: r.accepted, amount: timesDecimal(r.accepted, unitPrice) });
    }
  }
  for (const row of rows.values()) row.difference = sumDifference(row.terms);
  return [...rows.values()].sort((a, b) =>
    a.marketplace + a.subscriptionId + a.meter < b.marketplace + b.subscriptionId + b.meter ? -1 : 1,
  );
}

async function moneyOf(tx: Tx, span: MonthSpan, month: string, units: MonthUnits[], young: boolean): Promise<MonthMoney[]> {
  const rows = new Map<string, MonthMoney>();
  const at = (marketplace: string, externalId: string | null, currency: string | null): MonthMoney => {
    const key = JSON.stringify([marketplace, externalId, currency]);
    let row = rows.get(key);
    if (!row)
      rows.set(
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
    return row;
  };
  const real = units.filter((u) => !u.test);
  const names = new Map<string, string | null>();
  for (const grain of new Set(Object.values(MONEY_GRAIN))) {
    const ids = real.filter((u) => MONEY_GRAIN[u.marketplace as Marketplace] === grain).map((u) => u.subscriptionId);
    for (const [id, name] of await foreignNamesOf(tx, { grain, subscriptionIds: [...new Set(ids)] })) names.set(id, name);
  }
  // One row may be of all purchases of a marketplace.
  const joined = new Map<MonthMoney, Set<string>>();
  const join = (row: MonthMoney, subscriptionId: string): void => {
    const ids = joined.get(row) ?? new Set();
    joined.set(row, ids.add(subscriptionId));
  };
  for (const u of real) {
    const name = names.get(u.subscriptionId) ?? null;
    for (const p of u.prices) {
      const row = at(u.marketplace, name, p.currency);
      row.expected = sumDecimals([row.expected!, p.amount]);
      join(row, u.subscriptionId);
    }
    if (u.unpriced !== '0') {
      const row = at(u.marketplace, name, null);
      row.unpricedUnits.push({ dimension: u.dimension, units: u.unpriced });
      join(row, u.subscriptionId);
    }
  }
  const marketplaceOf = new Map(real.map((u) => [u.subscriptionId, u.marketplace]));
  for (const c of await monthCredits(tx, span)) {
    const marketplace = marketplaceOf.get(c.subscription_id);
    if (!marketplace) continue;
    const row = at(marketplace, names.get(c.subscription_id) ?? null, c.currency);
    row.credited = sumDecimals([row.credited, c.amount]);
    join(row, c.subscription_id);
  }
  for (const i of await monthInvoiced(tx, month, span.marketplace))
    Object.assign(at(i.marketplace, i.external_id, i.currency), { invoiced: i.amount, invoices: i.invoices });
  const unpriced = new Set([...rows.values()].filter((r) => r.currency === null).map((r) => JSON.stringify([r.marketplace, r.externalId])));
  for (const r of rows.values()) {
    r.subscriptionIds = [...(joined.get(r) ?? [])];
    r.bySum = r.subscriptionIds.length > 1;
    r.variance =
      r.currency === null
        ? [{ name: 'price_unknown', amount: null }]
        : nameVariance({
            expected: r.expected!,
            hasUnpriced: unpriced.has(JSON.stringify([r.marketplace, r.externalId])),
            invoiced: r.invoiced,
            credited: r.credited,
            young,
          });
  }
  return [...rows.values()].sort((a, b) =>
    JSON.stringify([a.marketplace, a.externalId, a.currency]) < JSON.stringify([b.marketplace, b.externalId, b.currency]) ? -1 : 1,
  );
}

/** Base units of a row in listed units, for people. */
export const termUnits = (u: MonthUnits, term: keyof TermSums): string => unitsForPeople(u.terms[term], BigInt(u.basePerUnit));
