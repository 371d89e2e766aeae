import type { Tx } from '#platform';
import type { ProcessContext } from './context.js';

const NOT_BUILT = ['requested', 'preflight', 'planned', 'approval', 'provisioning'];

/**
 * A purchase that cannot be served before its marketplace voids it (`activateBy`) is a finding as soon as that is known: at the order,
 * by the driver's first estimate, and whenever somebody says another day. Answers how many are new.
 */
export async function raiseLateEtas(p: ProcessContext, tx: Tx, clusterId: string, expectedAt: Date): Promise<number> {
  const { items } = await p.engine.listPlacements(tx, { limit: 500 }, { clusterId, phase: 'requested' });
  let raised = 0;
  for (const { subscriptionId, tenantId, placementId } of items) {
    const { activateBy, marketplace, externalSubscriptionId, state } = await p.subscriptions.get(tx, subscriptionId);
    if (state !== 'pending_fulfillment' || activateBy === null || expectedAt <= activateBy) continue;
    const isNew = await p.metering.raiseFinding(tx, {
      kind: 'eta_after_deadline',
      // Another day of another estimate is another finding; the same one said twice is not.
      dedupeKey: `eta_after_deadline:${subscriptionId}:${expectedAt.toISOString().slice(0, 10)}`,
      tenantId,
      subscriptionId,
      deadline: activateBy,
      evidence: {
        marketplace,
        externalSubscriptionId,
        placementId,
        clusterId,
        expectedAt: expectedAt.toISOString(),
        activateBy: activateBy.toISOString(),
        why: 'it will not be built before the marketplace voids the purchase',
      },
    });
    if (isNew) raised += 1;
  }
  return raised;
}

/** At order time: what people build takes its time from now on. */
export async function raiseLateOrder(p: ProcessContext, tx: Tx, placementId: string): Promise<void> {
  const { clusterId } = await p.engine.getPlacement(tx, placementId);
  const cluster = await p.engine.getCluster(tx, clusterId);
  const leadHours = p.engine.leadHoursOf(cluster.driver);
  if (leadHours !== null && NOT_BUILT.includes(cluster.phase))
    await raiseLateEtas(p, tx, clusterId, new Date(cluster.createdAt.getTime() + leadHours * 3_600_000));
}
