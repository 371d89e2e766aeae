import type { TaskContext, Tx } from '#platform';
import { isOver, subscriptionIdOf, subscriptionLane } from '#entitlements';
import type { FulfillmentEvent } from '#marketplaces/core';
import type { ProcessContext } from './context.js';
import { applyEvent, rereadTruth } from './normalise-inbound.js';

/** "Every several seconds", and it may take minutes (contract azure §3); what takes longer is found by the next drift run. */
const LOOKS_MS = [15_000, 60_000, 600_000];

/**
 * A change of the publisher's own that was not asked for by this house (in the portal, by a script): its one message comes while it
 * runs, and no other says that it is done. The purchase is read again a few times.
 */
export async function followForeignChange(p: ProcessContext, tx: Tx, event: FulfillmentEvent): Promise<void> {
  if (event.kind !== 'change_requested' || !event.change?.requestedByUs || !event.truth) return;
  const subscriptionId = subscriptionIdOf(event.marketplace, event.externalSubscriptionId);
  const [own] = await tx.query(`select 1 from publisher_changes where subscription_id = $1 and state in ('requested', 'sent')`, [
    subscriptionId,
  ]);
  if (own) return;
  for (const after of LOOKS_MS)
    await p.tasks.enqueue(tx, {
      lane: `reread:${subscriptionId}`,
      handler: 'purchase.reread',
      payload: { subscriptionId },
      runAt: new Date(p.clock.now().getTime() + after),
      dedupeKey: `purchase.reread:${subscriptionId}:${event.change.externalOperationId}:${after}`,
    });
}

/** Task `purchase.reread`: due on a lane of its own; read and applied on the purchase's. */
export async function rereadPurchase(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const { subscriptionId } = payload;
  const record = await p.db.ops((tx) => p.subscriptions.find(tx, subscriptionId));
  const lane = subscriptionLane(subscriptionId);
  if (!record || isOver(record.state)) return p.db.ops((tx) => task.completeIn(tx));
  if (task.lane !== lane)
    return p.db.ops(async (tx) => {
      await p.tasks.enqueue(tx, { lane, handler: 'purchase.reread', payload });
      await task.completeIn(tx);
    });
  const { marketplace, externalSubscriptionId, marketplaceRefs } = record;
  const event = await rereadTruth(p, marketplace, externalSubscriptionId, 'a change of the publisher was under way', marketplaceRefs);
  await p.db.ops(async (tx) => {
    if (event.truth) await applyEvent(p, tx, event, null);
    await task.completeIn(tx);
  });
}
