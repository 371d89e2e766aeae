import type { Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { foldAtRisk, type AtRisk } from '../domain/at-risk.js';
import { PriceBook } from '../infra/prices.sql.js';

interface Row {
  marketplace: Marketplace;
  subscription_id: string;
  dimension: string;
  external_plan_id: string;
  listed_unit: string;
  hour: Date;
  target_at: Date;
  hard_at: Date;
  items: number;
  units: string;
}

/**
 * Units and money of frozen hours that no marketplace has accepted yet, by the time left to the hard deadline; operators' role.
 * Only what is closed: an hour that is not yet closed has no amount. A marketplace with nothing waiting is left out.
 */
export async function readAtRisk(tx: Tx, now: Date): Promise<AtRisk[]> {
  const rows = await tx.query<Row>(
    `select i.marketplace, i.subscription_id, r.dimension, r.external_plan_id, r.listed_unit, i.hour, i.target_at, i.hard_at,
            count(*)::int as items, sum(r.quantity)::text as units
       from submission_items i join usage_records r using (record_id)
      where i.settled_at is null group by 1, 2, 3, 4, 5, 6, 7, 8`,
  );
  if (rows.length === 0) return [];
  const prices = await PriceBook.load(
    tx,
    rows.map((r) => r.subscription_id),
  );
  return foldAtRisk(
    rows.map((r) => ({
      marketplace: r.marketplace,
      dimension: r.dimension,
      listedUnit: r.listed_unit,
      targetAt: r.target_at,
      hardAt: r.hard_at,
      items: r.items,
      units: r.units,
      price: prices.at(r.subscription_id, r.dimension, r.hour, r.external_plan_id),
    })),
    now,
  );
}
