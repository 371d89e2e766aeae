import { uuidv7, type Tx } from '#platform';
import type { FulfillmentEvent } from '#marketplaces/core';

/** One line of a purchase's history: a fact and what became of it. */
export async function recordEvent(
  tx: Tx,
  event: Pick<FulfillmentEvent, 'marketplace' | 'externalSubscriptionId' | 'kind' | 'occurredAt' | 'note' | 'evidence'>,
  became: { inboxId: string | null; subscriptionId: string | null; outcome: string; now: Date },
): Promise<void> {
  await tx.query(
    `insert into fulfillment_events (fulfillment_event_id, inbox_id, subscription_id, marketplace, external_subscription_id, kind, occurred_at, note, outcome, recorded_at, evidence)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    [
      uuidv7(),
      became.inboxId,
      became.subscriptionId,
      event.marketplace,
      event.externalSubscriptionId,
      event.kind,
      event.occurredAt,
      event.note,
      became.outcome,
      became.now,
      event.evidence === undefined ? null : JSON.stringify(event.evidence),
    ],
  );
}
