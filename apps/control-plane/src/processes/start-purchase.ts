import { RunAgainAt, type TaskContext } from '#platform';
import type { ProcessContext } from './context.js';
import { applyEvent, rereadTruth } from './normalise-inbound.js';

/** How often a purchase is asked for whose day has come while the marketplace still calls it scheduled. */
const ASK_AGAIN_MS = 5 * 60_000;

/** Task `purchase.start`, due at the start of the term. */
export async function startPurchase(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const record = await p.db.ops((tx) => p.subscriptions.get(tx, payload.subscriptionId));
  // The start was moved: another task has the new one, and this one must not hold its lane.
  const isDue = record.termStartsAt !== null && record.termStartsAt <= p.clock.now();
  if (record.state !== 'scheduled' || !isDue) return p.db.ops((tx) => task.completeIn(tx));
  const event = await rereadTruth(
    p,
    record.marketplace,
    record.externalSubscriptionId,
    'the day of its start has come',
    record.marketplaceRefs,
  );
  const stays = await p.db.ops(async (tx) => {
    await applyEvent(p, tx, event, null);
    const now = await p.subscriptions.get(tx, payload.subscriptionId);
    if (now.state === 'scheduled' && now.termStartsAt && now.termStartsAt <= p.clock.now()) return true;
    await task.completeIn(tx);
    return false;
  });
  if (stays) throw new RunAgainAt(new Date(p.clock.now().getTime() + ASK_AGAIN_MS), 'the marketplace still calls it scheduled');
}
