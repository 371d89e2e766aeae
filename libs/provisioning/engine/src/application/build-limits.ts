import type { Tx } from '#platform';
import type { BuildLimits } from '../domain/build-limits.js';
import { insertOverride, limitsOf, listOverrides, type LimitOverrideRow } from '../infra/limit-rows.js';
import type { EngineContext } from './context.js';

export interface LimitsView {
  /** What the plan says; null: as much as it takes. */
  readonly plan: BuildLimits | null;
  /** An operator's word, while it holds. */
  readonly override: LimitOverrideRow | null;
  readonly effective: BuildLimits | null;
  /** Each word there was, newest first, and each taking back (`limits` null). */
  readonly history: readonly LimitOverrideRow[];
}

/** From now on: what was refused is tried again by itself (an order that waits) or by a retry (a cluster that stopped). */
export function overrideLimits(
  ctx: EngineContext,
  tx: Tx,
  wish: { readonly subscriptionId: string; readonly limits: BuildLimits | null; readonly by: string; readonly reason: string },
): Promise<void> {
  const { subscriptionId, limits, by, reason } = wish;
  return insertOverride(tx, { subscription_id: subscriptionId, limits, reason, decided_by: by, decided_at: ctx.clock.now() });
}

export async function readLimits(tx: Tx, subscriptionId: string, plan: BuildLimits | null): Promise<LimitsView> {
  const history = await listOverrides(tx, subscriptionId);
  const [newest] = history;
  return { plan, override: newest?.limits ? newest : null, effective: await limitsOf(tx, subscriptionId, plan), history };
}
