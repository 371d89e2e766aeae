import { RunAgainAt, sha256Hex, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy, type FulfillmentEvent, type Marketplace } from '#marketplaces/core';
import type { ProcessContext } from './context.js';
import { applyEvent, rereadTruth } from './normalise-inbound.js';

interface Buyer {
  marketplace: Marketplace;
  buyerAccountId: string;
}
const laneOf = ({ marketplace, buyerAccountId }: Buyer): string => `buyer:${marketplace}:${sha256Hex(buyerAccountId).slice(0, 16)}`;

/** A buyer has signed up whose order the marketplace does not show yet: it may come days later, and then waits for nobody. */
export async function rememberSignUp(p: ProcessContext, tx: Tx, buyer: Buyer): Promise<void> {
  await tx.query(
    `insert into buyer_sign_ups (marketplace, buyer_account_id, signed_up_at) values ($1, $2, $3)
       on conflict (marketplace, buyer_account_id) do update set signed_up_at = excluded.signed_up_at`,
    [buyer.marketplace, buyer.buyerAccountId, p.clock.now()],
  );
  await p.tasks.enqueue(tx, { lane: laneOf(buyer), handler: 'buyer.sign_up', payload: { ...buyer } });
}

/** Of the buyers who wait at the marketplace, those who have signed up with us and are not being approved already. */
export async function bookLostSignUps(p: ProcessContext, tx: Tx, marketplace: Marketplace, waitingBuyers: string[]): Promise<void> {
  const rows = await tx.query<{ buyer_account_id: string }>(
    'select buyer_account_id from buyer_sign_ups where marketplace = $1 and buyer_account_id = any($2::text[])',
    [marketplace, waitingBuyers],
  );
  for (const { buyer_account_id: buyerAccountId } of rows) {
    const lane = laneOf({ marketplace, buyerAccountId });
    const [open] = await tx.query(`select 1 from tasks where lane = $1 and state <> 'done'`, [lane]);
    if (!open) await p.tasks.enqueue(tx, { lane, handler: 'buyer.sign_up', payload: { marketplace, buyerAccountId } });
  }
}

/**
 * Task `buyer.sign_up`: the account is approved, and what it has ordered meanwhile is served: whichever of order and sign-up
 * comes second leads on (contract gcp §1).
 */
export async function signUpBuyer(p: ProcessContext, payload: Buyer, task: TaskContext): Promise<void> {
  const { marketplace, buyerAccountId } = payload;
  const adapter = p.marketplaces.get(marketplace);
  if (adapter.approveBuyer) {
    try {
      // The journal needs no name of the buyer.
      await p.calls.around({ target: marketplace, operation: 'approveBuyer', subject: laneOf(payload), intent: { signedUp: true } }, () =>
        adapter.approveBuyer!(buyerAccountId).then(() => null),
      );
    } catch (error) {
      if (error instanceof MarketplaceBusy)
        throw new RunAgainAt(new Date(p.clock.now().getTime() + (error.retryAfterMs ?? 5_000)), error.message);
      throw error;
    }
  }
  const purchases = await p.db.ops((tx) => p.subscriptions.ofBuyer(tx, marketplace, buyerAccountId));
  const events: FulfillmentEvent[] = [];
  for (const one of purchases.filter((s) => s.state === 'pending_fulfillment' && !s.tenantId))
    events.push(await rereadTruth(p, marketplace, one.externalSubscriptionId, 'its buyer has signed up', one.marketplaceRefs));
  await p.db.ops(async (tx) => {
    for (const event of events) if (event.truth) await applyEvent(p, tx, { ...event, kind: 'buyer_ready' }, null);
    await task.completeIn(tx);
  });
}
