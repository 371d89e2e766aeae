import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy, type FulfillmentEvent } from '#marketplaces/core';
import { isOver, subscriptionLane, type SubscriptionRecord, type TakeOver } from '#entitlements';
import { applyEvent, oneMergerAtATime, rereadTruth } from './normalise-inbound.js';
import { followLimits } from './complete-fulfillment.js';
import type { ProcessContext } from './context.js';
import { raiseSuccession } from './end-purchase.js';

const ENDS = ['ending', 'ended', 'exporting', 'purging', 'purged'];

/**
 * On `subscription.succession_due`: a licensed renewal or replacement takes its predecessor's place with everything in it: tenant,
 * endpoint, keys, data. The registration half is inherited, so no buyer has to land again. One transaction: at one instant the
 * predecessor's counting ends and the successor's begins.
 */
export async function followSuccession(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const { subscriptionId } = payload;
  const ready = await p.db.ops((tx) => registrationToInherit(p, tx, subscriptionId));
  const activation = ready ? await inherit(p, ready.successor, ready.predecessor) : null;
  await p.db.ops(async (tx) => {
    await oneMergerAtATime(tx, subscriptionId);
    const named = await p.subscriptions.predecessorOf(tx, subscriptionId);
    // What is reported already stays reported: the cut is not put into hours that are closed.
    // All links: the place is with any of them when it is taken.
    const chain = await p.subscriptions.ancestorsOf(tx, subscriptionId);
    const closed = chain.length > 0 ? await p.metering.holdClosing(tx, [...chain, subscriptionId]) : new Map<string, Date>();
    const notBefore = chain.flatMap((id) => closed.get(id) ?? []).sort((a, b) => b.getTime() - a.getTime())[0] ?? null;
    const taken = await p.subscriptions.takeOver(tx, subscriptionId, notBefore);
    if (taken.result === 'waits') {
      // Not on the purchase's own lane: its messages go on meanwhile.
      await p.tasks.enqueue(tx, {
        lane: `succession:${subscriptionId}`,
        handler: 'succession.follow',
        payload: { subscriptionId },
        runAt: taken.until,
        dedupeKey: `succession.follow:${subscriptionId}:${taken.until.toISOString()}`,
      });
    } else if (taken.result === 'taken') await moveAlong(p, tx, subscriptionId, taken, activation);
    else if (named) await noteRefusal(p, tx, subscriptionId, named, taken.why);
    await task.completeIn(tx);
  });
}

/** Where the predecessor's endpoint serves, its registration is complete, and so is the successor's. */
async function registrationToInherit(
  p: ProcessContext,
  tx: Tx,
  subscriptionId: string,
): Promise<{ successor: SubscriptionRecord; predecessor: SubscriptionRecord } | null> {
  const successor = await p.subscriptions.find(tx, subscriptionId);
  const [giver] = successor && !successor.tenantId ? await p.subscriptions.ancestorsOf(tx, subscriptionId) : [];
  const predecessor = giver === undefined ? null : await p.subscriptions.find(tx, giver);
  if (!successor || !predecessor) return null;
  const placement = await p.engine.placementOfSubscription(tx, predecessor.subscriptionId);
  return placement?.activatedAt && !ENDS.includes(placement.phase) ? { successor, predecessor } : null;
}

async function inherit(
  p: ProcessContext,
  successor: SubscriptionRecord,
  predecessor: SubscriptionRecord,
): Promise<FulfillmentEvent | null> {
  const adapter = p.marketplaces.get(successor.marketplace);
  const { subscriptionId, externalSubscriptionId, marketplace } = successor;
  const truth = await adapter.readTruth(externalSubscriptionId, successor.marketplaceRefs);
  if (truth?.state !== 'pending_fulfillment' || !predecessor.tenantId) return null;
  const context = { tenantId: predecessor.tenantId, predecessor: predecessor.marketplaceRefs };
  try {
    const refs = await p.calls.around(
      {
        target: marketplace,
        operation: 'acknowledge',
        subject: `subscription:${subscriptionId}`,
        subscriptionId,
        intent: { externalSubscriptionId, takesOverFrom: predecessor.externalSubscriptionId },
      },
      async () => (await adapter.acknowledge(truth, context)) ?? null,
    );
    const note = 'licensed, and registered by the purchase whose place it takes';
    return await rereadTruth(p, marketplace, externalSubscriptionId, note, refs ?? successor.marketplaceRefs);
  } catch (error) {
    if (error instanceof MarketplaceBusy)
      throw new RunAgainAt(new Date(p.clock.now().getTime() + (error.retryAfterMs ?? 2_000)), error.message);
    throw error;
  }
}

/** Placement, usage and rights go where the tenant went; then the successor is active from the instant of the cut. */
async function moveAlong(
  p: ProcessContext,
  tx: Tx,
  subscriptionId: string,
  taken: Extract<TakeOver, { result: 'taken' }>,
  activation: FulfillmentEvent | null,
): Promise<void> {
  const placement = await p.engine.placementOfSubscription(tx, taken.predecessorId);
  const goesAlong = placement && taken.tenantId && !ENDS.includes(placement.phase);
  if (goesAlong) {
    await p.engine.transferPlacement(tx, placement.placementId, subscriptionId);
    await p.metering.transferPlacement(tx, { placementId: placement.placementId, toSubscriptionId: subscriptionId, at: taken.at });
    if (placement.phase === 'suspending' || placement.phase === 'suspended') await p.engine.resume(tx, placement.placementId);
    if (activation) {
      await applyEvent(p, tx, { ...activation, kind: 'activated', occurredAt: taken.at }, null);
      await followLimits(p, tx, subscriptionId, taken.at);
    } else if (placement.activatedAt) {
      // It began to serve while this was on its way: the registration is inherited like that of any endpoint that serves.
      await p.tasks.enqueue(tx, {
        lane: subscriptionLane(subscriptionId),
        handler: 'fulfillment.complete',
        payload: { subscriptionId, placementId: placement.placementId },
      });
    }
  }
  await p.audit.record(tx, {
    tenantId: taken.tenantId,
    actor: 'control plane',
    action: 'subscription.taken_over',
    subject: `subscription:${subscriptionId}`,
    detail: { predecessor: taken.predecessorId, at: taken.at.toISOString(), placementId: goesAlong ? placement.placementId : null },
  });
}

/** A renewal that names a predecessor and may not have its place is for a person to look at. */
async function noteRefusal(p: ProcessContext, tx: Tx, subscriptionId: string, named: SubscriptionRecord, why: string): Promise<void> {
  const successor = await p.subscriptions.get(tx, subscriptionId);
  if (named.supersededBy === subscriptionId || isOver(successor.state)) return;
  const isApart = successor.tenantId !== null && named.tenantId !== null && successor.buyerAccountId === named.buyerAccountId;
  if (successor.tenantId !== null && !isApart) return;
  await raiseSuccession(p, tx, successor, isApart ? 'apart' : 'refused', {
    why,
    predecessor: { subscriptionId: named.subscriptionId, externalSubscriptionId: named.externalSubscriptionId, tenantId: named.tenantId },
  });
  await p.audit.record(tx, {
    tenantId: successor.tenantId,
    actor: 'control plane',
    action: 'subscription.take_over_refused',
    subject: `subscription:${subscriptionId}`,
    detail: { predecessor: named.subscriptionId, why },
  });
}
