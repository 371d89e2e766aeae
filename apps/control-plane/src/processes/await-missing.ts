import type { SubscriptionRecord } from '#entitlements';
import type { Tx } from '#platform';
import type { ProcessContext } from './context.js';

/** Milliseconds of business time until the first look. */
export const FIRST_LOOK_MS = 60_000;

/**
 * A purchase in force of which the marketplace still owes us something that it tells by no message (Google's usage reporting id,
 * contract gcp §2; the quantity of an AWS contract whose
 * service did not answer, contract aws §3): it is read again, first after a minute, later once an hour. What only usage needs is not
 * owed where nothing is measured.
 */
export async function awaitMissing(p: ProcessContext, tx: Tx, record: SubscriptionRecord): Promise<void> {
  const { subscriptionId } = record;
  if (!record.truth.incomplete || record.truth.state !== 'active' || !record.planVersionId) return;
  const isForUsage = record.truth.incomplete === 'usage';
  if (isForUsage && (await p.catalog.get(tx, record.planVersionId)).meters.length === 0) return;
  await p.tasks.enqueue(tx, {
    lane: `missing:${subscriptionId}`,
    handler: 'purchase.complete',
    payload: { subscriptionId },
    runAt: new Date(p.clock.now().getTime() + FIRST_LOOK_MS),
    dedupeKey: `purchase.complete:${subscriptionId}`,
  });
}
