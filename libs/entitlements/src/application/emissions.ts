import type { Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import type { Emission } from '../domain/plan-version.js';

const HOUR_MS = 3_600_000;
/** A listing that nobody has said anything of. */
const DEFAULT: Emission = 'live';

export interface ListingEmission {
  marketplace: Marketplace;
  externalOfferId: string;
  /** On an hour's edge; the epoch for what holds from the beginning. */
  from: Date;
  emission: Emission;
}

/** What was, is and will be the emission of each listing, oldest first; a listing without a row is live. */
export async function readListingEmissions(tx: Tx): Promise<ListingEmission[]> {
  const rows = await tx.query<{ marketplace: Marketplace; external_offer_id: string; from_at: Date; emission: Emission }>(
    'select marketplace, external_offer_id, from_at, emission from listing_emissions order by marketplace, external_offer_id, from_at',
  );
  return rows.map((r) => ({ marketplace: r.marketplace, externalOfferId: r.external_offer_id, from: r.from_at, emission: r.emission }));
}

export interface ListingNow {
  marketplace: Marketplace;
  externalOfferId: string;
  emission: Emission;
  /** Since when; null where it was never anything else. */
  since: Date | null;
  /** What it becomes, at an hour's edge that has not come yet. */
  next: { emission: Emission; from: Date } | null;
}

/** Every listing that was ever loaded, with its emission at `now` (business time). */
export async function readListingsNow(tx: Tx, now: Date): Promise<ListingNow[]> {
  const listings = await tx.query<{ marketplace: Marketplace; external_offer_id: string }>(
    'select distinct marketplace, external_offer_id from plan_versions order by 1, 2',
  );
  const all = await readListingEmissions(tx);
  return listings.map(({ marketplace, external_offer_id: externalOfferId }) => {
    const mine = all.filter((e) => e.marketplace === marketplace && e.externalOfferId === externalOfferId);
    const current = mine.findLast((e) => e.from <= now);
    const next = mine.find((e) => e.from > now);
    return {
      marketplace,
      externalOfferId,
      emission: current?.emission ?? DEFAULT,
      since: current && current.from.getTime() > 0 ? current.from : null,
      next: next ? { emission: next.emission, from: next.from } : null,
    };
  });
}

/**
 * Notes what the catalog says of a listing now. A change holds from the next hour's edge on, for every purchase; a listing that
 * was never sold here holds from the beginning. Answers whether anything changed.
 */
export async function noteListingEmission(
  tx: Tx,
  listing: { marketplace: Marketplace; externalOfferId: string; emission: Emission; isNew: boolean },
  now: Date,
): Promise<boolean> {
  const { marketplace, externalOfferId, emission, isNew } = listing;
  const [last] = await tx.query<{ emission: Emission }>(
    'select emission from listing_emissions where marketplace = $1 and external_offer_id = $2 order by from_at desc limit 1',
    [marketplace, externalOfferId],
  );
  if ((last?.emission ?? DEFAULT) === emission) return false;
  const edge = new Date((Math.floor(now.getTime() / HOUR_MS) + 1) * HOUR_MS);
  await tx.query(
    `insert into listing_emissions (marketplace, external_offer_id, from_at, emission, recorded_at) values ($1, $2, $3, $4, $5)
     on conflict (marketplace, external_offer_id, from_at) do update set emission = excluded.emission, recorded_at = excluded.recorded_at`,
    [marketplace, externalOfferId, isNew && !last ? new Date(0) : edge, emission, now],
  );
  return true;
}
