import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import type { ProcessContext } from './context.js';
import { applyEvent, rereadTruth } from './normalise-inbound.js';

/** How often a purchase is asked for whose day has come while the marketplace still calls it scheduled. */
const ASK_AGAIN_MS = 5 * 60_000;

/** A purchase with a future start: its truth is read again on the day, for marketplaces that tell nothing then (contract gcp §2, aws §7). */
export async function awaitStart(p: ProcessContext, tx: Tx, subscriptionId: string): Promise<void> {
  const record = await p.subscriptions.get(tx, subscriptionId);
  const startsAt = record.termStartsAt;
  if (record.state !== 'scheduled' || !startsAt) return;
  await p.tasks.enqueue(tx, {
    // A lane of its own: the purchase's messages do not wait for the day.
    lane: `start:${subscriptionId}`,
    handler: 'purchase.start',
    payload: { subscriptionId },
    runAt: startsAt,
    dedupeKey: `purchase.start:${subscriptionId}:${startsAt.toISOString()}`,
  });
}

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
