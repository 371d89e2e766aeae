import type { Check, Marketplace } from '#marketplaces/core';
import { OUR_METRICS, type CatalogPlan } from '#entitlements';

/** Which metrics no cell reports. A name that nobody reports is usage that nobody bills, and silence of a count or sum looks like none. */
export function metricCheck(marketplace: Marketplace, plans: CatalogPlan[]): Check {
  const check = `${marketplace}.reported`;
  const foreign = plans.flatMap((p) =>
    p.meters
      .filter((m) => m.source === 'cell' && !OUR_METRICS.cell.includes(m.metric))
      .map((m) => `${p.externalPlanId} ${m.meter}: ${m.metric}`),
  );
  if (foreign.length === 0) return { check, result: 'pass', detail: 'every metric is one that cells or the engine report' };
  return {
    check,
    result: 'warn',
    detail: `reported by no cell: ${[...new Set(foreign)].join('; ')}`,
    remedy: `Where an importer posts it, all is well (docs/guides/usage.md). Else correct the name: cells report ${OUR_METRICS.cell.join(', ')}.`,
  };
}
