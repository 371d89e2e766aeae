import type { TaskContext } from '#platform';
import { isOver, subscriptionLane } from '#entitlements';
import type { ProcessContext } from './context.js';
import { applyEvent, rereadTruth } from './normalise-inbound.js';

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
