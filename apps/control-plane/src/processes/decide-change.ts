import type { Tx } from '#platform';
import type { FulfillmentEvent } from '#marketplaces/core';
import type { ChangeDecision } from '#entitlements';
import type { ProcessContext } from './context.js';

/**
 * A buyer asks for another plan or quantity: decided from our own rows, and the explicit answer to the marketplace is booked in
 * the same transaction. Null where the event asks for nothing, or where we asked ourselves.
 */
export async function decideChange(p: ProcessContext, tx: Tx, event: FulfillmentEvent, lane: string): Promise<ChangeDecision | null> {
  if (event.kind !== 'change_requested' || !event.change || !event.truth || event.change.requestedByUs) return null;
  const decision = await p.changes.decide(tx, event.truth, event.change);
  await p.tasks.enqueue(tx, {
    lane,
    handler: 'change.answer',
    dedupeKey: `change.answer:${String(decision.changeRequestId)}`,
    payload: {
      marketplace: event.marketplace,
      changeRequestId: decision.changeRequestId,
      externalSubscriptionId: event.externalSubscriptionId,
    },
  });
  return decision;
}
