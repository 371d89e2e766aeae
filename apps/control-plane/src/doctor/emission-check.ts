import type { Check, Marketplace } from '#marketplaces/core';
import type { CatalogPlan } from '#entitlements';

/** Which listings and meters send nothing. Wanted while a seller moves over; forgotten, it is revenue that nobody asks for. */
export function emissionCheck(marketplace: Marketplace, plans: CatalogPlan[]): Check {
  const check = `${marketplace}.emission`;
  const listings = plans.filter((p) => (p.listingEmission ?? 'live') !== 'live').map((p) => `${p.externalOfferId}: ${p.listingEmission}`);
  const meters = plans.flatMap((p) =>
    p.meters.filter((m) => m.emission !== 'live').map((m) => `${p.externalPlanId} ${m.meter}: ${m.emission}`),
  );
  const all = [...new Set([...listings, ...meters])];
  if (all.length === 0) return { check, result: 'pass', detail: 'every listing and meter is live' };
  return {
    check,
    result: 'warn',
    detail: `not sent to the marketplace: ${all.join('; ')}`,
    remedy: 'Where that is not wanted (any more), say `emission: live` in the catalog and start again: docs/guides/catalog.md.',
  };
}
