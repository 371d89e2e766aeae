import type { Marketplace } from './words.js';

const TERM = /^(.+)-P(?=\d)(?:\d+Y)?(?:\d+M)?(?:\d+D)?$/;

/**
 * Ids under which a catalog may hold a plan, best first. Google names the term of a plan at the end of its id (`scale-P1Y`); its
 * meters and limits are those of the plan itself (contract gcp §2), unless the catalog says otherwise of the full id.
 */
export function planIdsOf(marketplace: Marketplace, externalPlanId: string): string[] {
  const base = marketplace === 'gcp' ? TERM.exec(externalPlanId)?.[1] : undefined;
  return base === undefined ? [externalPlanId] : [externalPlanId, base];
}
