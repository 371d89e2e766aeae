import type { SubscriptionRecord } from '#entitlements';
import type { Tx } from '#platform';
import type { ProcessContext } from './context.js';

/** A purchase with a future start: its truth is read again on the day, for marketplaces that tell nothing then (contract gcp §2, aws §7). */
export async function awaitStart(p: ProcessContext, tx: Tx, record: SubscriptionRecord): Promise<void> {
  const { subscriptionId, termStartsAt: startsAt } = record;
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
