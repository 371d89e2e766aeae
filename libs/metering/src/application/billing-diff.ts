import type { Tx } from '#platform';
import type { CatalogPlan } from '#entitlements';
import { compareRecords, sumChanges, type DimensionChange, type RecordChange } from '../domain/billing-diff.js';
import { parseLine, type JournalPlan, type RecordFacts } from '../domain/journal.js';
import { fromUs } from '../domain/units.js';
import { purchaseLedgers, type PurchaseLedger } from '../infra/ledger-hash.sql.js';
import { PriceBook } from '../infra/prices.sql.js';
import { replayJournal, type Replayed, type ReplayOptions } from './replay-journal.js';

export interface BillingDiff {
  records: { before: number; after: number; changed: number };
  changes: RecordChange[];
  sums: DimensionChange[];
  /** Plans of the journal that the other catalog does not have: they stay as they are. */
  notInCatalog: string[];
  replayed: Replayed;
}

/**
 * Replays a checked journal with this build, and with another catalog where one is given, and answers which of the journal's
 * records would be others. All versions of a plan are read as the catalog says the plan now, as if it had said so all along;
 * the emission of listings stays as it was. `read` opens the journal anew each time.
 */
export async function billingDiff(
  read: () => AsyncIterable<string>,
  options: Omit<ReplayOptions, 'plans'> & { catalog?: readonly CatalogPlan[] },
): Promise<BillingDiff> {
  const { catalog, ...rest } = options;
  const notInCatalog = new Set<string>();
  const plans = (asItWas: JournalPlan): JournalPlan => {
    const now = catalog?.find(
      (p) =>
        p.marketplace === asItWas.marketplace &&
        p.externalOfferId === asItWas.externalOfferId &&
        p.externalPlanId === asItWas.externalPlanId,
    );
    if (now) return { ...asItWas, meters: now.meters, quotas: now.quotas };
    notInCatalog.add(`${asItWas.marketplace}/${asItWas.externalOfferId}/${asItWas.externalPlanId}`);
    return asItWas;
  };
  const replayed = await replayJournal(read(), { ...rest, ...(catalog ? { plans } : {}) });
  return options.db.ops(async (tx) => {
    await tx.query('set local statement_timeout = 0');
    // A long file is read while the transaction is open.
    await tx.query('set local idle_in_transaction_session_timeout = 0');
    const counts = { before: 0, after: 0 };
    const changes: RecordChange[] = [];
    for await (const [before, after] of pairs(recordsOf(read()), purchaseLedgers(tx))) {
      counts.before += before.length;
      counts.after += after.length;
      if (compareRecords(before, after, () => null).length > 0) changes.push(...(await priced(tx, before, after)));
    }
    return {
      records: { ...counts, changed: changes.length },
      changes,
      sums: sumChanges(changes),
      notInCatalog: [...notInCatalog].sort(),
      replayed,
    };
  });
}

async function priced(tx: Tx, before: RecordFacts[], after: RecordFacts[]): Promise<RecordChange[]> {
  const { subscriptionId } = (before[0] ?? after[0])!;
  const book = await PriceBook.load(tx, [subscriptionId]);
  return compareRecords(before, after, (r) => {
    const money = book.money(subscriptionId, r.dimension, fromUs(BigInt(r.hour)), r.quantity, r.externalPlanId);
    return money === 'price_unknown' ? null : { currency: money.price.currency, amount: money.amount };
  });
}

type Purchase = Pick<PurchaseLedger, 'subscriptionId' | 'records'>;

/** The journal's records, by purchase, in order of their ids. */
async function* recordsOf(lines: AsyncIterable<string>): AsyncGenerator<Purchase> {
  let records: RecordFacts[] = [];
  let n = 0;
  for await (const text of lines) {
    n += 1;
    if (!text.startsWith('{"line":"record"') && !text.startsWith('{"line":"purchase"')) continue;
    const line = parseLine(text, n);
    if (line.line === 'record') records.push(line);
    else if (line.line === 'purchase') {
      yield { subscriptionId: line.subscriptionId, records };
      records = [];
    }
  }
}

/** Both sides of each purchase that either has; both come in order of ids. */
async function* pairs(a: AsyncGenerator<Purchase>, b: AsyncGenerator<Purchase>): AsyncGenerator<[RecordFacts[], RecordFacts[]]> {
  let [x, y] = [await a.next(), await b.next()];
  while (!x.done || !y.done) {
    const [was, is] = [x.done ? null : x.value, y.done ? null : y.value];
    if (is === null || (was !== null && was.subscriptionId < is.subscriptionId)) {
      yield [was!.records, []];
      x = await a.next();
    } else if (was === null || is.subscriptionId < was.subscriptionId) {
      yield [[], is.records];
      y = await b.next();
    } else {
      yield [was.records, is.records];
      [x, y] = [await a.next(), await b.next()];
    }
  }
}
