import { RunAgainAt, type TaskContext } from '#platform';
import { isOver } from '#entitlements';
import { FIRST_LOOK_MS } from './await-missing.js';
import type { ProcessContext } from './context.js';
import { applyEvent, rereadTruth } from './normalise-inbound.js';

const MOST_MS = 3_600_000;

/** Task `purchase.complete`: reads a purchase again until the marketplace has told all of it. */
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
      new Date(p.clock.now().getTime() + Math.min(MOST_MS, FIRST_LOOK_MS * 2 ** Math.min(6, task.attempt))),
      'the marketplace has not told it yet',
    );
}
