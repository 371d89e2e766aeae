import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy, type Marketplace } from '#marketplaces/core';
import { subscriptionLane } from '#entitlements';
import { bookServiceChecks } from './check-service.js';
import type { ProcessContext } from './context.js';
import { bookLostOrders, bookLostSignUps, bookOtherOrders } from './sign-up-buyer.js';

/**
 * Steps of ours that the marketplace still waits for although they were due: purchases that serve and were never acknowledged,
 * buyers who signed up and were never approved, and what they ordered before that.
 */
export async function sweepLostSteps(
  p: ProcessContext,
  tx: Tx,
  input: { marketplace: Marketplace; waitingBuyers: string[]; before: Date },
): Promise<void> {
  await bookLostAcknowledgements(p, tx, input.marketplace, input.before);
  await bookLostApprovals(p, tx, input.marketplace, input.waitingBuyers);
  await bookLostSignUps(p, tx, input.marketplace, input.waitingBuyers);
  await bookLostOrders(p, tx, input);
  await bookServiceChecks(p, tx, input.marketplace);
}

const IDLE = `not exists (select 1 from tasks t where t.lane = 'subscription:' || s.subscription_id and t.state <> 'done')`;

/** Whichever of message and sign-up came second should have led to the approval; it is taken up again where neither did. */
async function bookLostAcknowledgements(p: ProcessContext, tx: Tx, marketplace: Marketplace, before: Date): Promise<void> {
  const rows = await tx.query<{ subscription_id: string }>(
    `select s.subscription_id from subscriptions s
      where s.marketplace = $1 and s.state = 'pending_fulfillment' and s.tenant_id is not null and s.updated_at < $2 and ${IDLE}`,
    [marketplace, before],
  );
  for (const { subscription_id: subscriptionId } of rows) {
    const placement = await p.engine.placementOfSubscription(tx, subscriptionId);
    if (placement?.phase !== 'active' || !placement.activatedAt || placement.activatedAt > before) continue;
    await p.tasks.enqueue(tx, {
      lane: subscriptionLane(subscriptionId),
      handler: 'fulfillment.complete',
      payload: { subscriptionId, placementId: placement.placementId },
    });
  }
}

/**
 * An account's approval belongs to its sign-up, never to a message (contract gcp §1): only buyers who have completed a landing
 * are approved. A purchase that waits itself has its account approved with it.
 */
async function bookLostApprovals(p: ProcessContext, tx: Tx, marketplace: Marketplace, waitingBuyers: string[]): Promise<void> {
  if (waitingBuyers.length === 0) return;
  const rows = await tx.query<{ subscription_id: string }>(
    `select distinct on (s.buyer_account_id) s.subscription_id from subscriptions s
      where s.marketplace = $1 and s.buyer_account_id = any($2::text[]) and s.state = 'active' and s.tenant_id is not null and ${IDLE}
        and exists (select 1 from landing_sessions l where l.subscription_id = s.subscription_id and l.completed_at is not null)
      order by s.buyer_account_id, s.created_at`,
    [marketplace, waitingBuyers],
  );
  for (const { subscription_id: subscriptionId } of rows)
    await p.tasks.enqueue(tx, { lane: subscriptionLane(subscriptionId), handler: 'buyer.approve', payload: { subscriptionId } });
}

/** Task `buyer.approve`: the adapter approves the account before anything else; a purchase in force is left as it is. */
export async function approveBuyer(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const subscription = await p.db.ops((tx) => p.subscriptions.get(tx, payload.subscriptionId));
  const { marketplace, externalSubscriptionId, marketplaceRefs, subscriptionId, tenantId, state } = subscription;
  const adapter = p.marketplaces.get(marketplace);
  const truth = tenantId && state === 'active' ? await adapter.readTruth(externalSubscriptionId, marketplaceRefs) : null;
  if (truth?.state === 'active') {
    try {
      await p.calls.around(
        {
          target: marketplace,
          operation: 'acknowledge',
          subject: `subscription:${subscriptionId}`,
          subscriptionId,
          intent: { externalSubscriptionId, buyerAccountId: subscription.buyerAccountId },
        },
        () => adapter.acknowledge(truth, { tenantId: tenantId! }).then((refs) => refs ?? null),
      );
    } catch (error) {
      if (error instanceof MarketplaceBusy)
        throw new RunAgainAt(new Date(p.clock.now().getTime() + (error.retryAfterMs ?? 2_000)), error.message);
      throw error;
    }
  }
  await p.db.ops(async (tx) => {
    if (truth?.state === 'active') await bookOtherOrders(p, tx, subscription);
    await task.completeIn(tx);
  });
}
