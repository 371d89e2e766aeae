/** How much may be built for one entitlement. Pure. */
import { compareDecimals } from '#platform';
import type { CostRate } from '#provisioning/core';

export interface BuildLimits {
  readonly maxNodes?: number | null;
  readonly maxCostPerHour?: CostRate | null;
}

/** An operator's word over a plan's: what he left out is the plan's, null is no limit. */
export const effectiveLimits = (ofPlan: BuildLimits | null, own: BuildLimits | null): BuildLimits | null =>
  own ? { ...ofPlan, ...own } : ofPlan;

export interface OverLimit {
  readonly code: 'limit.max_nodes' | 'limit.max_cost_per_hour' | 'limit.cost_unknown';
  readonly detail: string;
}

/** What a build passes; null: nothing. `cost` undefined: it is not judged yet. Null: nobody knows it, which no limit lets through. */
export function overLimit(
  limits: BuildLimits | null,
  build: { readonly nodes: number; readonly cost?: CostRate | null },
): OverLimit | null {
  const { maxNodes, maxCostPerHour: most } = { ...limits };
  if (maxNodes != null && build.nodes > maxNodes)
    return { code: 'limit.max_nodes', detail: `It would have ${build.nodes} nodes; the entitlement allows ${maxNodes}.` };
  if (!most || build.cost === undefined) return null;
  if (build.cost === null || build.cost.currency !== most.currency)
    return {
      code: 'limit.cost_unknown',
      detail: `The entitlement allows ${most.amountPerHour} ${most.currency} an hour, and what it would cost is ${build.cost ? `in ${build.cost.currency}` : 'not known'}.`,
    };
  if (compareDecimals(build.cost.amountPerHour, most.amountPerHour) > 0)
    return {
      code: 'limit.max_cost_per_hour',
      detail: `It would cost ${build.cost.amountPerHour} ${most.currency} an hour; the entitlement allows ${most.amountPerHour}.`,
    };
  return null;
}
