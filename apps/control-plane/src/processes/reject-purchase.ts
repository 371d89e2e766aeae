import { ProblemError, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, type FulfillmentEvent } from '#marketplaces/core';
import { getPublisherChange, insertPublisherChange, movePublisherChange, type PublisherChangeRow } from '#entitlements';
import { applyEvent, rereadTruth } from './normalise-inbound.js';
import type { ProcessContext } from './context.js';
import { isAboutUs } from './refused-credentials.js';
import { waitForMarketplace } from './wait-for-marketplace.js';

const OPEN = ['scheduled', 'pending_fulfillment'];

/** Stores the wish and books its task: one transaction. Throws the problem of the API. */
export async function requestRejection(
  p: ProcessContext,
  tx: Tx,
  input: { subscriptionId: string; reason: string; alsoBuyer: boolean; requestedBy: string; actor: string },
): Promise<PublisherChangeRow> {
  const { subscriptionId } = input;
  const s = await p.subscriptions.lock(tx, subscriptionId);
  if (!s) throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription.');
  if (!p.marketplaces.has(s.marketplace) || !p.marketplaces.get(s.marketplace).rejectPurchase)
    throw new ProblemError('conflict', 'change.not_supported', `On ${s.marketplace} an order cannot be rejected.`);
  if (!OPEN.includes(s.state))
    throw new ProblemError('conflict', 'change.too_late', `Only an order that waits can be rejected; this one is ${s.state}.`);
  const row = await insertPublisherChange(tx, {
    ...input,
    change: { kind: 'reject', alsoBuyer: input.alsoBuyer },
    now: p.clock.now(),
  });
  if (!row) throw new ProblemError('conflict', 'change.under_way', 'It is rejected already, and under way.');
  await p.tasks.enqueue(tx, {
    // Not the purchase's own lane: a setting up that waits for the marketplace must not keep it back.
    lane: `publisher_change:${subscriptionId}`,
    handler: 'purchase.reject',
    payload: { publisherChangeId: row.publisher_change_id },
  });
  await p.audit.record(tx, {
    tenantId: s.tenantId,
    actor: input.actor,
    action: 'subscription.rejection_requested',
    subject: `subscription:${subscriptionId}`,
    detail: { reason: input.reason, alsoBuyer: input.alsoBuyer, publisherChangeId: row.publisher_change_id },
  });
  return row;
}

/**
 * Task `purchase.reject`. The adapter judges each call by re-reading, so what is not answered is asked again; what the marketplace
 * shows afterwards ends the purchase here, and its record may be gone by then.
 */
export async function rejectPurchase(p: ProcessContext, payload: { publisherChangeId: string }, task: TaskContext): Promise<void> {
  const { row, subscription } = await p.db.ops(async (tx) => {
    const found = (await getPublisherChange(tx, payload.publisherChangeId))!;
    return { row: found, subscription: await p.subscriptions.get(tx, found.subscription_id) };
  });
  if (row.state !== 'requested') return;
  const { marketplace, externalSubscriptionId, subscriptionId, marketplaceRefs } = subscription;
  const wish = { reason: row.reason, alsoBuyer: row.also_buyer };
  const step = { name: 'rejectPurchase', marketplace, about: { externalSubscriptionId }, subscriptionId, since: row.created_at };
  try {
    await p.calls.around(
      {
        target: marketplace,
        operation: 'rejectPurchase',
        subject: `publisher_change:${row.publisher_change_id}`,
        subscriptionId,
        intent: { externalSubscriptionId, ...wish, requestedBy: row.requested_by },
      },
      () => p.marketplaces.get(marketplace).rejectPurchase!(subscription.truth, wish).then(() => null),
    );
  } catch (error) {
    if (error instanceof MarketplaceBusy) await waitForMarketplace(p, { ...step, leastMs: error.retryAfterMs ?? 5_000 }, error.message);
    if (error instanceof MarketplaceUnknown) await waitForMarketplace(p, { ...step, leastMs: 5_000 }, error.message);
    if (!(error instanceof MarketplaceRefusal) || isAboutUs(error)) throw error;
    return p.db.ops(async (tx) => {
      const { code: errorCode, message: errorDetail } = error;
      await movePublisherChange(tx, row.publisher_change_id, { state: 'refused', errorCode, errorDetail, now: p.clock.now() });
      await task.completeIn(tx);
    });
  }
  const event = await rereadTruth(p, marketplace, externalSubscriptionId, 'we rejected the order', marketplaceRefs);
  const ended: FulfillmentEvent = event.truth ? event : { ...event, kind: 'ended', deletedThere: true };
  await p.db.ops(async (tx) => {
    // Before the wish, as whoever makes another one holds them.
    await p.subscriptions.lock(tx, subscriptionId);
    await movePublisherChange(tx, row.publisher_change_id, { state: 'succeeded', now: p.clock.now() });
    await applyEvent(p, tx, ended, null);
    await task.completeIn(tx);
  });
}
