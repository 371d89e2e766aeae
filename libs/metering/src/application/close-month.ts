import { ProblemError, sumDecimals, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { foreignNamesOf, readPlanVersions, readSegments, readSubscriptions } from '#entitlements';
import { unitsForPeople } from '../domain/explain-words.js';
import { timesDecimal, type EffectivePrice } from '../domain/price.js';
import { LEDGER_TERMS, sumDifference, type TermSums } from '../domain/sum-terms.js';
import {
  monthCredits,
  monthFindings,
  monthInvoiced,
  monthMarketplaces,
  monthPayouts,
  monthRecords,
  monthSamples,
  monthTerms,
  nextPurchases,
  openThings,
  type MonthPayout,
  type MonthSpan,
} from '../infra/month.sql.js';
import { PriceBook } from '../infra/prices.sql.js';
import type { MeteringDeps } from './deps.js';
import { MonthMoneyRows, type MonthMoney } from './month-money.js';
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
export interface MonthHead {
  month: string;
  state: 'final' | 'provisional';
  because: string[];
  moneyExpectedBy: Date;
}
/** A part of a month's sections, in this order: units of some purchases, then money, then the rest. */
export type MonthPiece =
  | { section: 'units'; rows: MonthUnits[] }
  | { section: 'money'; rows: MonthMoney[] }
  | { section: 'payouts'; rows: MonthPayout[] }
  | { section: 'findings'; rows: { kind: string; open: number; settled: number }[] };

/** Purchases that are read at once: their work is some milliseconds. */
const PURCHASES_AT_ONCE = 100;

/**
 * A month from sample to payout, each marketplace at the grain its reports have. Reads only; no sum goes over two currencies,
 * and test purchases have units and no money (money.md "Terms"). Refusals (`month.malformed`, `month.open`) come before any piece.
 *
 * Purchases are read page by page, each page of one moment, while the reader takes them: memory holds two pages, and of money a row for
 * each name at its marketplace's grain. What changes a month while it is read is why it is provisional.
 */
export async function closeMonth(
  deps: MeteringDeps,
  q: { month: string; marketplace?: Marketplace; requireFinal: boolean; purchasesAtOnce?: number },
): Promise<{ head: MonthHead; pieces: AsyncGenerator<MonthPiece> }> {
  if (!/^\d{4}-(0[1-9]|1[0-2])$/.test(q.month)) throw new ProblemError('validation', 'month.malformed', 'A month is written like 2026-03.');
  const from = new Date(`${q.month}-01T00:00:00Z`);
  const to = new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + 1, 1));
  const span: MonthSpan = { from, to, marketplace: q.marketplace ?? null };
  const because = await deps.db.ops((tx) => whyOpen(tx, span, deps.clock.now()));
  if (q.requireFinal && because.length > 0)
    throw new ProblemError('conflict', 'month.open', `${q.month} is not final: ${because.join('; ')}.`);
  const moneyExpectedBy = new Date(to.getTime() + MONEY_LAG_DAYS * 86_400_000);
  const head: MonthHead = { month: q.month, state: because.length === 0 ? 'final' : 'provisional', because, moneyExpectedBy };
  return { head, pieces: piecesOf(deps, span, head, q.purchasesAtOnce ?? PURCHASES_AT_ONCE) };
}

async function* piecesOf(deps: MeteringDeps, span: MonthSpan, head: MonthHead, atOnce: number): AsyncGenerator<MonthPiece> {
  const money = await deps.db.ops(async (tx) => new MonthMoneyRows(await monthCredits(tx, span)));
  for (const marketplace of await deps.db.ops((tx) => monthMarketplaces(tx, span))) {
    const read = (after: string | null): Promise<Page> => deps.db.ops((tx) => readPage(tx, span, { marketplace, after, limit: atOnce }));
    for (let next: Promise<Page> | null = read(null); next;) {
      const { ids, rows, names }: Page = await next;
      // The next one is read while this one is taken. Whoever asks for it hears of its failure; nobody may be left to.
      next = ids.length < atOnce ? null : read(ids.at(-1)!);
      next?.catch(() => undefined);
      money.add(rows, names);
      if (rows.length > 0) yield { section: 'units', rows };
    }
  }
  const invoiced = await deps.db.ops((tx) => monthInvoiced(tx, head.month, span.marketplace));
  for await (const rows of money.named(invoiced, deps.clock.now() < head.moneyExpectedBy)) yield { section: 'money', rows };
  yield { section: 'payouts', rows: await deps.db.ops((tx) => monthPayouts(tx, head.month, span.marketplace)) };
  yield { section: 'findings', rows: await deps.db.ops((tx) => monthFindings(tx, span)) };
}

interface Page {
  ids: string[];
  rows: MonthUnits[];
  names: Map<string, string | null>;
}
/** The next purchases, what is theirs of the month, and the names by which their marketplace's money tells them apart. */
async function readPage(tx: Tx, span: MonthSpan, q: { marketplace: string; after: string | null; limit: number }): Promise<Page> {
  // What an answer moves between two of these questions would be half there.
  await tx.query('set transaction isolation level repeatable read, read only');
  const ids = await nextPurchases(tx, q);
  const rows = await unitsOf(tx, span, ids);
  const grain = MONEY_GRAIN[q.marketplace as Marketplace];
  return { ids, rows, names: await foreignNamesOf(tx, { grain, subscriptionIds: ids }) };
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

async function unitsOf(tx: Tx, span: MonthSpan, subscriptionIds: string[]): Promise<MonthUnits[]> {
  const terms = await monthTerms(tx, span, subscriptionIds);
  const ids = [...new Set(terms.map((t) => t.subscription_id))];
  const purchases = await readSubscriptions(tx, ids);
  const segments = new Map(
    (await readSegments(tx, { subscriptionIds: ids, from: new Date(0), to: new Date(8.64e15 / 4) })).map((s) => [s.segmentId, s]),
  );
  const plans = await readPlanVersions(
    tx,
    [...segments.values()].map((s) => s.planVersionId),
  );
  const samples = new Map((await monthSamples(tx, span, ids)).map((s) => [`${s.subscription_id}/${s.meter}`, s.samples]));
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
  for (const r of await monthRecords(tx, span, ids, changes)) {
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
    else addAtPrice(row, price, r.accepted);
  }
  for (const row of rows.values()) row.difference = sumDifference(row.terms);
  return [...rows.values()].sort((a, b) =>
    a.marketplace + a.subscriptionId + a.meter < b.marketplace + b.subscriptionId + b.meter ? -1 : 1,
  );
}

/** A price that did not change is one part, whatever other prices changed meanwhile. */
function addAtPrice(row: MonthUnits, price: EffectivePrice, accepted: string): void {
  const { currency, unitPrice, source, provisional } = price;
  const amount = timesDecimal(accepted, unitPrice);
  const last = row.prices.at(-1);
  if (last?.currency === currency && last.unitPrice === unitPrice && last.source === source && last.provisional === provisional)
    Object.assign(last, { units: sumDecimals([last.units, accepted]), amount: sumDecimals([last.amount, amount]) });
  else row.prices.push({ currency, unitPrice, source, provisional, units: accepted, amount });
}

/** Base units of a row in listed units, for people. */
export const termUnits = (u: MonthUnits, term: keyof TermSums): string =>
  // Most terms of most rows are 0.
  u.terms[term] === 0n ? '0' : unitsForPeople(u.terms[term], BigInt(u.basePerUnit));
