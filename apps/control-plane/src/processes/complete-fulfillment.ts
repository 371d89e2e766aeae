import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy } from '#marketplaces/core';
import { readSegments, type SubscriptionRecord } from '#entitlements';
import { applyEvent, rereadTruth } from './normalise-inbound.js';
import type { ProcessContext } from './context.js';

/**
 * On `placement.active`: usage of the placement is bound to the purchase, and a marketplace that waits for us is told that
 * it serves (Azure activate: billing starts there). What it says then is read back and applied.
 */
export async function completeFulfillment(
  p: ProcessContext,
  payload: { subscriptionId: string; placementId: string },
  task: TaskContext,
): Promise<void> {
  const subscription = await p.db.ops(async (tx) => {
    const record = await p.subscriptions.get(tx, payload.subscriptionId);
    const placement = await p.engine.getPlacement(tx, payload.placementId);
    const cluster = await p.engine.getCluster(tx, placement.clusterId);
    await p.metering.bindPlacement(tx, {
      placementId: placement.placementId,
      tenantId: placement.tenantId,
      subscriptionId: placement.subscriptionId,
      source: `/cells/${cluster.name}`,
      from: placement.activatedAt ?? p.clock.now(),
    });
    await recordProvisioned(p, tx, record, placement.placementId, placement.activatedAt ?? p.clock.now());
    return record;
  });
  if (subscription.state !== 'pending_fulfillment') return;
  const adapter = p.marketplaces.get(subscription.marketplace);
  let refs = subscription.marketplaceRefs;
  const truth = await adapter.readTruth(subscription.externalSubscriptionId, refs);
  if (truth?.state === 'pending_fulfillment') {
    try {
      const remembered = await p.calls.around(
        {
          target: subscription.marketplace,
          operation: 'acknowledge',
          subject: `subscription:${subscription.subscriptionId}`,
          subscriptionId: subscription.subscriptionId,
          intent: { externalSubscriptionId: subscription.externalSubscriptionId, plan: truth.externalPlanId, quantity: truth.quantity },
        },
        async () => (await adapter.acknowledge(truth, { tenantId: subscription.tenantId! })) ?? null,
      );
      if (remembered) refs = remembered;
    } catch (error) {
      if (error instanceof MarketplaceBusy)
        throw new RunAgainAt(new Date(p.clock.now().getTime() + (error.retryAfterMs ?? 2_000)), error.message);
      throw error;
    }
  }
  const event = await rereadTruth(
    p,
    subscription.marketplace,
    subscription.externalSubscriptionId,
    'after telling the marketplace that it serves',
    refs,
  );
  // Where the truth is told by messages only, the missing half arrives as one: nothing to poll for.
  if (event.truth?.state === 'pending_fulfillment' && !adapter.mergeTruth)
    throw new RunAgainAt(new Date(p.clock.now().getTime() + 2_000), 'the marketplace does not show the activation yet');
  await p.db.ops(async (tx) => {
    await applyEvent(p, tx, { ...event, kind: 'activated' }, null);
    await task.completeIn(tx);
  });
}

/** The provisioned gauge comes from our own events: what the quota grants, from the instant it grants it. */
export async function recordProvisioned(
  p: ProcessContext,
  tx: Tx,
  subscription: SubscriptionRecord,
  placementId: string,
  at: Date,
): Promise<void> {
  const [quota] = await tx.query<{ hard_limit: string }>(
    `select hard_limit from quotas where subscription_id = $1 and name = 'storage_bytes' and ends_at is null`,
    [subscription.subscriptionId],
  );
  const plan = await p.catalog.get(tx, subscription.planVersionId!);
  const limit = quota?.hard_limit ?? plan.quotas.find((q) => q.name === 'storage_bytes')?.hardLimit ?? '0';
  await p.metering.recordEngineSample(tx, {
    subscriptionId: subscription.subscriptionId,
    tenantId: subscription.tenantId!,
    placementId,
    metric: 'provisioned_bytes',
    at,
    value: BigInt(limit),
  });
}

/** On `subscription.changed`: limits follow the plan; the provisioned gauge changes at the cut. */
export async function applyChangedRights(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  await p.db.ops(async (tx) => {
    const subscription = await p.subscriptions.get(tx, payload.subscriptionId);
    const placement = await p.engine.placementOfSubscription(tx, payload.subscriptionId);
    const [quota] = await tx.query<{ hard_limit: string }>(
      `select hard_limit from quotas where subscription_id = $1 and name = 'storage_bytes' and ends_at is null`,
      [payload.subscriptionId],
    );
    if (placement && quota) {
      const now = p.clock.now();
      const segments = await readSegments(tx, {
        subscriptionIds: [payload.subscriptionId],
        from: new Date(now.getTime() - 1),
        to: new Date(now.getTime() + 1),
      });
      await p.engine.setLimits(tx, placement.placementId, { hardQuotaBytes: BigInt(quota.hard_limit) });
      await recordProvisioned(p, tx, subscription, placement.placementId, segments.at(-1)?.startsAt ?? now);
    }
    await task.completeIn(tx);
  });
}
