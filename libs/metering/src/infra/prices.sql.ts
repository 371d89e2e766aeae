import { groupBy, uuidv7, type Tx } from '#platform';
import { readPlanVersions, readSegments, readSubscriptions } from '#entitlements';
import { effectivePrice, timesDecimal, type EffectivePrice, type PriceKey, type PriceRow } from '../domain/price.js';

interface Raw {
  price_id: string;
  marketplace: string;
  external_offer_id: string;
  external_plan_id: string;
  dimension: string;
  subscription_id: string | null;
  currency: string;
  unit_price: string;
  effective_from: Date;
  source: string;
  recorded_at: Date;
  recorded_by: string;
}
const COLUMNS = `price_id, marketplace, external_offer_id, external_plan_id, dimension, subscription_id, currency, unit_price::text, effective_from, source, recorded_at, recorded_by`;

export type StoredPrice = PriceRow & { recordedBy: string };
const toPrice = (r: Raw): StoredPrice => ({
  priceId: r.price_id,
  marketplace: r.marketplace,
  externalOfferId: r.external_offer_id,
  externalPlanId: r.external_plan_id,
  dimension: r.dimension,
  subscriptionId: r.subscription_id,
  currency: r.currency,
  unitPrice: r.unit_price,
  effectiveFrom: r.effective_from,
  source: r.source,
  recordedAt: r.recorded_at,
  recordedBy: r.recorded_by,
});

export async function insertPrice(tx: Tx, p: Omit<StoredPrice, 'priceId'>): Promise<StoredPrice> {
  const [row] = await tx.query<Raw>(
    `insert into prices (price_id, marketplace, external_offer_id, external_plan_id, dimension, subscription_id, currency, unit_price, effective_from, source, recorded_at, recorded_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8::numeric, $9, $10, $11, $12) returning ${COLUMNS}`,
    [
      uuidv7(),
      p.marketplace,
      p.externalOfferId,
      p.externalPlanId,
      p.dimension,
      p.subscriptionId,
      p.currency,
      p.unitPrice,
      p.effectiveFrom,
      p.source,
      p.recordedAt,
      p.recordedBy,
    ],
  );
  return toPrice(row!);
}

export async function listPrices(
  tx: Tx,
  q: { limit: number; after: string | null; marketplace?: string },
): Promise<{ items: StoredPrice[]; nextCursor: string | null }> {
  const rows = await tx.query<Raw>(
    `select ${COLUMNS} from prices where ($1::uuid is null or price_id > $1) and ($3::text is null or marketplace = $3) order by price_id limit $2`,
    [q.after, q.limit + 1, q.marketplace ?? null],
  );
  const items = rows.slice(0, q.limit).map(toPrice);
  return { items, nextCursor: rows.length > q.limit ? items.at(-1)!.priceId : null };
}

/** From when on a list has a price, by marketplace, offer, plan and dimension as JSON. */
export async function listPricesFrom(tx: Tx): Promise<Map<string, Date>> {
  const rows = await tx.query<{ marketplace: string; external_offer_id: string; external_plan_id: string; dimension: string; at: Date }>(
    'select marketplace, external_offer_id, external_plan_id, dimension, min(effective_from) as at from prices where subscription_id is null group by 1, 2, 3, 4',
  );
  return new Map(rows.map((r) => [JSON.stringify([r.marketplace, r.external_offer_id, r.external_plan_id, r.dimension]), r.at]));
}

/** Units in money, or the name of what is missing; never 0 for "unknown" (money.md "Corrections after the receipt"). */
export type Money = { amount: string; price: EffectivePrice } | 'price_unknown';

interface Purchase {
  marketplace: string;
  externalOfferId: string;
  privateOffer: boolean;
  /** Plan in force, by time. */
  plans: { from: Date; until: Date | null; externalPlanId: string; dimensions: ReadonlySet<string> }[];
}

const NONE: ReadonlySet<string> = new Set();
const keyOf = (
  of: Pick<PriceKey, 'marketplace' | 'externalOfferId' | 'externalPlanId' | 'dimension'>,
  subscriptionId: string | null,
): string => JSON.stringify([of.marketplace, of.externalOfferId, of.externalPlanId, of.dimension, subscriptionId]);

/** The prices of some purchases, read once; operators' role only. */
export class PriceBook {
  /** By what they are the price of: a large house has as many negotiated ones as purchases. */
  private readonly byKey: ReadonlyMap<string, PriceRow[]>;

  private constructor(
    private readonly purchases: Map<string, Purchase>,
    private readonly prices: PriceRow[],
  ) {
    this.byKey = groupBy(prices, (p) => keyOf(p, p.subscriptionId));
  }

  static async load(tx: Tx, subscriptionIds: Iterable<string>): Promise<PriceBook> {
    const ids = [...new Set(subscriptionIds)];
    const segments = await readSegments(tx, { subscriptionIds: ids, from: new Date(0), to: new Date(8.64e15 / 4) });
    const plans = await readPlanVersions(
      tx,
      segments.map((s) => s.planVersionId),
    );
    const dimensions = new Map([...plans].map(([id, plan]) => [id, new Set(plan.meters.map((m) => m.dimension))]));
    const ofPurchase = groupBy(segments, (s) => s.subscriptionId);
    const purchases = new Map<string, Purchase>();
    for (const [id, row] of await readSubscriptions(tx, ids)) {
      purchases.set(id, {
        marketplace: row.marketplace,
        externalOfferId: row.external_offer_id,
        privateOffer: (row.private_offers ?? []).length > 0,
        plans: (ofPurchase.get(id) ?? []).map((s) => ({
          from: s.startsAt,
          until: s.endsAt,
          externalPlanId: s.externalPlanId,
          dimensions: dimensions.get(s.planVersionId) ?? NONE,
        })),
      });
    }
    const offers = [...new Set([...purchases.values()].map((p) => `${p.marketplace}\u0000${p.externalOfferId}`))];
    const rows = await tx.query<Raw>(
      `select ${COLUMNS} from prices where (marketplace, external_offer_id) in (select * from unnest($1::text[], $2::text[])) and (subscription_id is null or subscription_id = any($3::uuid[]))`,
      [offers.map((o) => o.split('\u0000')[0]), offers.map((o) => o.split('\u0000')[1]), ids],
    );
    return new PriceBook(purchases, rows.map(toPrice));
  }

  /** Instants at which some price of these purchases changes: between two of them each record of a key has one price. */
  changes(): Date[] {
    return [...new Set(this.prices.map((p) => p.effectiveFrom.getTime()))].sort((a, b) => a - b).map((t) => new Date(t));
  }

  /** `externalPlanId` where the record names it; else the plan in force in that hour that has the dimension. */
  at(subscriptionId: string, dimension: string, hour: Date, externalPlanId?: string): EffectivePrice | null {
    const purchase = this.purchases.get(subscriptionId);
    if (!purchase) return null;
    const end = new Date(hour.getTime() + 3_600_000);
    const plan =
      externalPlanId ??
      purchase.plans.find((p) => p.from < end && (p.until === null || p.until > hour) && p.dimensions.has(dimension))?.externalPlanId;
    if (plan === undefined) return null;
    const { marketplace, externalOfferId, privateOffer } = purchase;
    const key: PriceKey = { marketplace, externalOfferId, externalPlanId: plan, dimension, subscriptionId, privateOffer };
    const [list, own] = [this.byKey.get(keyOf(key, null)), this.byKey.get(keyOf(key, subscriptionId))];
    return effectivePrice([...(list ?? []), ...(own ?? [])], key, hour);
  }

  money(subscriptionId: string, dimension: string, hour: Date, units: string, externalPlanId?: string): Money {
    const price = this.at(subscriptionId, dimension, hour, externalPlanId);
    return price ? { amount: timesDecimal(units, price.unitPrice), price } : 'price_unknown';
  }
}
