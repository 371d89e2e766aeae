import { type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy } from '#marketplaces/core';
import { isOver, quotaLimit, readSegments, subscriptionLane, type Segment, type SubscriptionRecord } from '#entitlements';
import { applyEvent, rereadTruth } from './normalise-inbound.js';
import type { ProcessContext } from './context.js';
import { raiseExceededRoom } from './exceeded-room.js';
import { bookOtherOrders } from './sign-up-buyer.js';
import { waitForMarketplace } from './wait-for-marketplace.js';

/**
 * On `placement.active`: usage of the placement is bound to the purchase, and a marketplace that waits for us is told that
 * it serves (Azure activate: billing starts there). What it says then is read back and applied.
 */
export async function completeFulfillment(
  p: ProcessContext,
  payload: { subscriptionId: string; placementId: string },
  task: TaskContext,
): Promise<void> {
  const found = await p.db.ops(async (tx) => {
    const placement = await p.engine.getPlacement(tx, payload.placementId);
    if (placement.subscriptionId !== payload.subscriptionId) {
      // A renewal has taken it over meanwhile: this is work of the renewal's lane.
      const { subscriptionId } = placement;
      await p.tasks.enqueue(tx, {
        lane: subscriptionLane(subscriptionId),
        handler: 'fulfillment.complete',
        payload: { subscriptionId, placementId: placement.placementId },
      });
      await task.completeIn(tx);
      return null;
    }
    const record = await p.subscriptions.get(tx, payload.subscriptionId);
    const cluster = await p.engine.getCluster(tx, placement.clusterId);
    await p.metering.bindPlacement(tx, {
      placementId: placement.placementId,
      tenantId: placement.tenantId,
      subscriptionId: placement.subscriptionId,
      source: `/cells/${cluster.name}`,
      from: placement.activatedAt ?? p.clock.now(),
    });
    await recordProvisioned(p, tx, record, placement.placementId, placement.activatedAt ?? p.clock.now());
    const since = placement.activatedAt && placement.activatedAt > record.updatedAt ? placement.activatedAt : record.updatedAt;
    return { subscription: record, since, predecessor: await takenOverFrom(p, tx, record.subscriptionId) };
  });
  if (!found) return;
  const { subscription } = found;
  const predecessor = found.predecessor?.marketplaceRefs;
  if (subscription.state !== 'pending_fulfillment') return;
  const adapter = p.marketplaces.get(subscription.marketplace);
  const { marketplace, externalSubscriptionId, subscriptionId } = subscription;
  const step = { name: 'acknowledge', marketplace, about: { externalSubscriptionId }, subscriptionId, since: found.since };
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
        async () =>
          (await adapter.acknowledge(truth, { tenantId: subscription.tenantId!, ...(predecessor ? { predecessor } : {}) })) ?? null,
      );
      if (remembered) refs = remembered;
    } catch (error) {
      if (error instanceof MarketplaceBusy) await waitForMarketplace(p, { ...step, leastMs: error.retryAfterMs ?? 2_000 }, error.message);
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
    await waitForMarketplace(p, { ...step, leastMs: 2_000 }, 'the marketplace does not show the activation yet');
  await p.db.ops(async (tx) => {
    await applyEvent(p, tx, { ...event, kind: 'activated' }, null);
    // Counting begins here: a gauge of our own that was told in an earlier hour than this one's would not be known in it.
    const [first] = await segmentsNow(p, tx, subscription.subscriptionId);
    if (first) await recordProvisioned(p, tx, subscription, payload.placementId, first.startsAt);
    await bookOtherOrders(p, tx, subscription);
    await task.completeIn(tx);
  });
}

/** Only whose place it has really taken, however many links are between: an id in a message alone proves nothing. */
async function takenOverFrom(p: ProcessContext, tx: Tx, subscriptionId: string): Promise<SubscriptionRecord | null> {
  const [giver] = await p.subscriptions.ancestorsOf(tx, subscriptionId);
  const handedOn = giver !== undefined && (await p.subscriptions.successorOf(tx, giver)) === subscriptionId;
  return handedOn ? p.subscriptions.get(tx, giver) : null;
}

/** What the purchase's plan and quantity allow: as granted, or as it will be while it is not active yet. */
async function storageLimit(p: ProcessContext, tx: Tx, subscription: SubscriptionRecord): Promise<bigint | null> {
  const [quota] = await tx.query<{ hard_limit: string }>(
    `select hard_limit from quotas where subscription_id = $1 and name = 'storage_bytes' and ends_at is null`,
    [subscription.subscriptionId],
  );
  if (quota) return BigInt(quota.hard_limit);
  const terms = (await p.catalog.get(tx, subscription.planVersionId!)).quotas.find((q) => q.name === 'storage_bytes');
  return terms ? quotaLimit(terms, subscription.quantity) : null;
}

function segmentsNow(p: ProcessContext, tx: Tx, subscriptionId: string): Promise<Segment[]> {
  const now = p.clock.now().getTime();
  return readSegments(tx, { subscriptionIds: [subscriptionId], from: new Date(now - 1), to: new Date(now + 1) });
}

/** The provisioned gauge comes from our own events: what the quota grants, from the instant it grants it. */
export async function recordProvisioned(
  p: ProcessContext,
  tx: Tx,
  subscription: SubscriptionRecord,
  placementId: string,
  at: Date,
): Promise<void> {
  await p.metering.recordEngineSample(tx, {
    subscriptionId: subscription.subscriptionId,
    tenantId: subscription.tenantId!,
    placementId,
    metric: 'provisioned_bytes',
    at,
    value: (await storageLimit(p, tx, subscription)) ?? 0n,
  });
}

/** The placement's limits follow the purchase's plan; what it provides is counted from `at` on, once it serves. */
export async function followLimits(p: ProcessContext, tx: Tx, subscriptionId: string, at: Date): Promise<void> {
  const subscription = await p.subscriptions.get(tx, subscriptionId);
  const placement = await p.engine.placementOfSubscription(tx, subscriptionId);
  if (!placement || isOver(subscription.state)) return;
  await p.engine.setBuildLimits(tx, placement.placementId, (await p.catalog.get(tx, subscription.planVersionId!)).build ?? null);
  const hardQuotaBytes = await storageLimit(p, tx, subscription);
  if (hardQuotaBytes === null) return;
  await p.engine.setLimits(tx, placement.placementId, { hardQuotaBytes });
  await raiseExceededRoom(p, tx, placement.placementId);
  if (placement.activatedAt) await recordProvisioned(p, tx, subscription, placement.placementId, at);
}

/** On `subscription.changed`: limits follow the plan; the provisioned gauge changes at the cut. */
export async function applyChangedRights(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  await p.db.ops(async (tx) => {
    const segments = await segmentsNow(p, tx, payload.subscriptionId);
    await followLimits(p, tx, payload.subscriptionId, segments.at(-1)?.startsAt ?? p.clock.now());
    await task.completeIn(tx);
  });
}
