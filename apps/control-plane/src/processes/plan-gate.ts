import { ProblemError, type Tx } from '#platform';
import type { PlanGate, PlanVersion } from '#entitlements';
import type { PlanWish, ProvisioningEngine } from '#provisioning/engine';

/** What a plan asks of the place where it is built. */
export const planWish = (plan: PlanVersion, region: string, tenantName?: string): PlanWish => ({
  marketplace: plan.marketplace,
  region,
  shape: plan.shape,
  features: plan.features,
  ...(tenantName === undefined ? {} : { tenantName }),
});

/** Consulted before a plan is sold in a region, and before a purchase is changed to it. What nobody builds is refused like a gate. */
export function planGate(engine: Pick<ProvisioningEngine, 'readinessRefusal'>): PlanGate {
  return async (tx: Tx, plan, region) => {
    const refused = await engine.readinessRefusal(tx, planWish(plan, region)).catch((error: unknown) => {
      if (error instanceof ProblemError) return error;
      throw error;
    });
    return refused && { rule: String(refused.extra['gate'] ?? refused.code), reason: refused.detail };
  };
}
