import type { Clock, Tx } from '#platform';
import { readSubscriptions } from '#entitlements';
import { fromUs } from '../domain/units.js';
import { listPricesFrom, PriceBook, type StoredPrice } from '../infra/prices.sql.js';
import type { ClosedHour } from '../infra/write-records.js';
import { raiseFindings } from './findings.js';

/** Enough for a large house; more are asked of the database again. */
const MOST_TOLD = 200_000;

interface Unpriced {
  key: string;
  tenantId: string;
  subscriptionId: string;
  marketplace: string;
  meter: string;
  segmentId: string;
  dimension: string;
  externalPlanId: string;
  quantity: string;
}

/**
 * Says once of each segment and dimension that nobody knows what its units cost (money.md "Corrections after the receipt": never 0).
 * Where the list has a price a record costs one look into a map; only the others are asked for prices of their own.
 */
export class PriceFindings {
  private readonly told = new Set<string>();

  async look(
    tx: Tx,
    clock: Clock,
    closed: readonly ClosedHour[],
    offerOf: (planVersionId: string) => string | null,
    hour: bigint,
  ): Promise<void> {
    if (closed.every((c) => c.close.records.length === 0)) return;
    const list = await listPricesFrom(tx);
    const at = fromUs(hour);
    const open: Unpriced[] = [];
    for (const { series, close } of closed)
      for (const r of close.records) {
        if (r.unsent || r.baseQuantity === 0n) continue;
        const from = list.get(JSON.stringify([series.marketplace, offerOf(r.planVersionId), r.externalPlanId, r.dimension]));
        if (from && from <= at) continue;
        const key = `price_unknown:${series.subscriptionId}:${r.segmentId}:${r.dimension}`;
        if (this.told.has(key)) continue;
        const { tenantId, subscriptionId, marketplace, meter } = series;
        const { segmentId, dimension, externalPlanId, quantity } = r;
        open.push({ key, tenantId, subscriptionId, marketplace, meter, segmentId, dimension, externalPlanId, quantity });
      }
    if (open.length > 0) await this.tell(tx, clock, open, at);
  }

  private async tell(tx: Tx, clock: Clock, open: readonly Unpriced[], hour: Date): Promise<void> {
    const known = new Set(
      (
        await tx.query<{ key: string }>('select dedupe_key as key from findings where dedupe_key = any($1::text[])', [
          open.map((u) => u.key),
        ])
      ).map((r) => r.key),
    );
    const fresh = open.filter((u) => !known.has(u.key));
    const ids = [...new Set(fresh.map((u) => u.subscriptionId))];
    const [book, purchases] = [await PriceBook.load(tx, ids), await readSubscriptions(tx, ids)];
    // Test purchases have no money (money.md "Terms").
    const unpriced = fresh.filter(
      (u) => !purchases.get(u.subscriptionId)?.is_test && !book.at(u.subscriptionId, u.dimension, hour, u.externalPlanId),
    );
    await raiseFindings(
      tx,
      clock,
      unpriced.map((u) => ({
        kind: 'price_unknown',
        dedupeKey: u.key,
        tenantId: u.tenantId,
        subscriptionId: u.subscriptionId,
        dimension: u.dimension,
        hour,
        units: u.quantity,
        evidence: {
          marketplace: u.marketplace,
          meter: u.meter,
          segmentId: u.segmentId,
          externalPlanId: u.externalPlanId,
          remedy: 'POST /api/v1/prices with its source and date; the amounts follow by themselves',
        },
      })),
    );
    // What is rolled back was not told, and must be said by the next try.
    tx.afterCommit(() => {
      if (this.told.size + open.length > MOST_TOLD) this.told.clear();
      for (const u of [...unpriced, ...open.filter((u) => known.has(u.key))]) this.told.add(u.key);
    });
  }
}

/** A price has become known: what waited for it settles itself. Answers how many did. */
export async function settlePriced(tx: Tx, clock: Clock, price: StoredPrice): Promise<number> {
  const open = await tx.query<{ finding_id: string; subscription_id: string; dimension: string; hour: Date; plan: string }>(
    `select finding_id, subscription_id, dimension, hour, evidence ->> 'externalPlanId' as plan from findings
      where kind = 'price_unknown' and settlement is null and dimension = $1 and evidence ->> 'marketplace' = $2 and evidence ->> 'externalPlanId' = $3
        and hour >= $4 and ($5::uuid is null or subscription_id = $5) for update`,
    [price.dimension, price.marketplace, price.externalPlanId, price.effectiveFrom, price.subscriptionId],
  );
  if (open.length === 0) return 0;
  const book = await PriceBook.load(
    tx,
    open.map((f) => f.subscription_id),
  );
  const priced = open.filter((f) => book.at(f.subscription_id, f.dimension, f.hour, f.plan));
  const now = clock.now();
  await tx.query(
    `update findings set settlement = $2, settled_at = $3, proposal = null where finding_id = any($1::uuid[]) and settlement is null`,
    [
      priced.map((f) => f.finding_id),
      JSON.stringify({
        kind: 'fix_mapping',
        actor: 'prices',
        reason: 'a price of this hour has become known',
        effect: `${price.unitPrice} ${price.currency} a unit, from ${price.source}`,
        at: now,
      }),
      now,
    ],
  );
  return priced.length;
}
