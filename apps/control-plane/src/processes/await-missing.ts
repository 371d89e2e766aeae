import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import { isOver } from '#entitlements';
import type { ProcessContext } from './context.js';
import { applyEvent, rereadTruth } from './normalise-inbound.js';

const FIRST_MS = 60_000;
const MOST_MS = 3_600_000;

/**
 * A purchase in force of which the marketplace still owes us something that it tells by no message (Google's usage reporting id,
 * contract gcp §2): it is read again, first after a minute, later once an hour. Nothing is owed where nothing is measured.
 */
export async function awaitMissing(p: ProcessContext, tx: Tx, subscriptionId: string): Promise<void> {
  const record = await p.subscriptions.get(tx, subscriptionId);
  if (!record.truth.incomplete || record.truth.state !== 'active' || !record.planVersionId) return;
  if ((await p.catalog.get(tx, record.planVersionId)).meters.length === 0) return;
  await p.tasks.enqueue(tx, {
    lane: `missing:${subscriptionId}`,
    handler: 'purchase.complete',
    payload: { subscriptionId },
    runAt: new Date(p.clock.now().getTime() + FIRST_MS),
    dedupeKey: `purchase.complete:${subscriptionId}`,
  });
}

/** Task `purchase.complete`. */
export async function completePurchase(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const record = await p.db.ops((tx) => p.subscriptions.get(tx, payload.subscriptionId));
  if (!record.truth.incomplete || isOver(record.state)) return p.db.ops((tx) => task.completeIn(tx));
  const { marketplace, externalSubscriptionId, marketplaceRefs } = record;
  const event = await rereadTruth(p, marketplace, externalSubscriptionId, 'something of it was still missing', marketplaceRefs);
  const missing = await p.db.ops(async (tx) => {
    // Gone without a word of its end: left to reconciliation.
    if (event.truth) await applyEvent(p, tx, event, null);
    if (event.truth?.incomplete && event.truth.state === 'active') return true;
    await task.completeIn(tx);
    return false;
  });
  if (missing)
    throw new RunAgainAt(
      new Date(p.clock.now().getTime() + Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(6, task.attempt))),
      'the marketplace has not told it yet',
    );
}
