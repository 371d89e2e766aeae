import type { Tx } from '#platform';
import type { SubscriptionRecord } from '../infra/subscription.record.js';

/** The purchase has what was asked for; an older yes of the same kind that it does not have has been overtaken. */
export async function closeRequests(tx: Tx, record: SubscriptionRecord, at: Date, now: Date): Promise<void> {
  await tx.query(
    `with has as (
       update change_requests set state = 'applied', effective_at = $2, updated_at = $3 where subscription_id = $1 and state = 'accepted'
          and (kind = 'plan' and to_external_plan_id = $4 or kind = 'quantity' and to_quantity = $5)
       returning change_request_id, kind, created_at)
     update change_requests c set state = 'dropped', updated_at = $3 from has
      where c.subscription_id = $1 and c.state = 'accepted' and c.kind = has.kind and c.created_at < has.created_at
        and c.change_request_id not in (select change_request_id from has)`,
    [record.subscriptionId, at, now, record.externalPlanId, record.quantity],
  );
}

/** We said yes, and it will not come: withdrawn, overtaken or failed there. Without an operation it is whatever still waits. */
export async function dropRequests(
  tx: Tx,
  given: { subscriptionId: string; externalOperationId: string | null; now: Date },
): Promise<void> {
  await tx.query(
    `update change_requests set state = 'dropped', updated_at = $3
      where subscription_id = $1 and state = 'accepted' and ($2::text is null or external_operation_id = $2)`,
    [given.subscriptionId, given.externalOperationId, given.now],
  );
}
