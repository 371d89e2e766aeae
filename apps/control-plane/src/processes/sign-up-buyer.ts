import { sha256Hex, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy, type FulfillmentEvent, type Marketplace } from '#marketplaces/core';
import type { SubscriptionRecord } from '#entitlements';
import type { ProcessContext } from './context.js';
import { applyEvent, rereadTruth } from './normalise-inbound.js';
import { waitForMarketplace } from './wait-for-marketplace.js';

interface Buyer {
  marketplace: Marketplace;
  buyerAccountId: string;
}
/** A buyer as a task names him: old tasks must tell nothing of a buyer whose data was deleted. `buyer` is a SHA-256 in hex. */
interface HashedBuyer {
  marketplace: Marketplace;
  buyer: string;
}
const laneOf = ({ marketplace, buyer }: HashedBuyer): string => `buyer:${marketplace}:${buyer.slice(0, 16)}`;

/** A buyer has signed up whose order the marketplace does not show yet: it may come days later, and then waits for nobody. */
export async function rememberSignUp(p: ProcessContext, tx: Tx, buyer: Buyer): Promise<void> {
  await tx.query(
    `insert into buyer_sign_ups (marketplace, buyer_account_id, signed_up_at) values ($1, $2, $3)
       on conflict (marketplace, buyer_account_id) do update set signed_up_at = excluded.signed_up_at`,
    [buyer.marketplace, buyer.buyerAccountId, p.clock.now()],
  );
  await book(p, tx, buyer);
}

async function book(p: ProcessContext, tx: Tx, { marketplace, buyerAccountId }: Buyer): Promise<void> {
  const payload = { marketplace, buyer: sha256Hex(buyerAccountId) };
  await p.tasks.enqueue(tx, { lane: laneOf(payload), handler: 'buyer.sign_up', payload });
}

async function bookUnlessOpen(p: ProcessContext, tx: Tx, buyer: Buyer): Promise<void> {
  const lane = laneOf({ marketplace: buyer.marketplace, buyer: sha256Hex(buyer.buyerAccountId) });
  const [open] = await tx.query(`select 1 from tasks where lane = $1 and state <> 'done'`, [lane]);
  if (!open) await book(p, tx, buyer);
}

/** Of the buyers who wait at the marketplace, those who have signed up with us and are not being approved already. */
export async function bookLostSignUps(p: ProcessContext, tx: Tx, marketplace: Marketplace, waitingBuyers: string[]): Promise<void> {
  const rows = await tx.query<{ buyer_account_id: string }>(
    'select buyer_account_id from buyer_sign_ups where marketplace = $1 and buyer_account_id = any($2::text[])',
    [marketplace, waitingBuyers],
  );
  for (const { buyer_account_id: buyerAccountId } of rows) await bookUnlessOpen(p, tx, { marketplace, buyerAccountId });
}

/**
 * The account of a purchase was approved: what its buyer ordered beside it before he signed up waits for nobody any more, and no
 * message of it comes (contract gcp §1).
 */
export async function bookOtherOrders(p: ProcessContext, tx: Tx, served: SubscriptionRecord): Promise<void> {
  const { marketplace, buyerAccountId } = served;
  if (!buyerAccountId || !p.marketplaces.get(marketplace).approveBuyer) return;
  const others = (await p.subscriptions.ofBuyer(tx, marketplace, buyerAccountId)).filter(waitsForBuyer);
  if (others.some((s) => s.subscriptionId !== served.subscriptionId)) await bookUnlessOpen(p, tx, { marketplace, buyerAccountId });
}

const waitsForBuyer = (s: SubscriptionRecord): boolean => s.state === 'pending_fulfillment' && !s.tenantId;

/** The same, found by the sweep: orders that wait of buyers whom we know and whom the marketplace does not let wait. */
export async function bookLostOrders(
  p: ProcessContext,
  tx: Tx,
  input: { marketplace: Marketplace; waitingBuyers: string[]; before: Date },
): Promise<void> {
  if (!p.marketplaces.get(input.marketplace).approveBuyer) return;
  const rows = await tx.query<{ buyer_account_id: string }>(
    `select distinct s.buyer_account_id from subscriptions s
      where s.marketplace = $1 and s.state = 'pending_fulfillment' and s.tenant_id is null and s.updated_at < $2
        and s.buyer_account_id is not null and s.buyer_account_id <> all($3::text[])
        and not exists (select 1 from tasks t where t.lane = 'subscription:' || s.subscription_id and t.state <> 'done')
        and (exists (select 1 from buyer_sign_ups b where b.marketplace = s.marketplace and b.buyer_account_id = s.buyer_account_id)
          or exists (select 1 from subscriptions o where o.marketplace = s.marketplace and o.buyer_account_id = s.buyer_account_id
                        and o.tenant_id is not null))`,
    [input.marketplace, input.before, input.waitingBuyers],
  );
  for (const { buyer_account_id: buyerAccountId } of rows) await bookUnlessOpen(p, tx, { marketplace: input.marketplace, buyerAccountId });
}

const bookedAt = async (tx: Tx, { taskId }: TaskContext): Promise<Date> =>
  (await tx.query<{ created_at: Date }>('select created_at from tasks where task_id = $1', [taskId]))[0]!.created_at;

/** Null: nothing is kept of him any more. */
async function named(tx: Tx, { marketplace, buyer }: HashedBuyer): Promise<string | null> {
  const [row] = await tx.query<{ buyer_account_id: string }>(
    `select buyer_account_id from (
       select buyer_account_id from buyer_sign_ups where marketplace = $1
       union select buyer_account_id from subscriptions where marketplace = $1 and state = 'pending_fulfillment' and buyer_account_id is not null) known
      where encode(sha256(convert_to(buyer_account_id, 'UTF8')), 'hex') = $2`,
    [marketplace, buyer],
  );
  return row?.buyer_account_id ?? null;
}

/**
 * Task `buyer.sign_up`: the account is approved, and what it has ordered meanwhile is served: whichever of order and sign-up
 * comes second leads on (contract gcp §1).
 */
export async function signUpBuyer(p: ProcessContext, payload: HashedBuyer, task: TaskContext): Promise<void> {
  const { marketplace } = payload;
  const buyerAccountId = await p.db.ops((tx) => named(tx, payload));
  if (!buyerAccountId) return;
  const adapter = p.marketplaces.get(marketplace);
  if (adapter.approveBuyer) {
    try {
      // The journal needs no name of the buyer.
      await p.calls.around({ target: marketplace, operation: 'approveBuyer', subject: laneOf(payload), intent: { signedUp: true } }, () =>
        adapter.approveBuyer!(buyerAccountId).then(() => null),
      );
    } catch (error) {
      if (error instanceof MarketplaceBusy) {
        const step = { name: 'approveBuyer', marketplace, about: { buyer: payload.buyer }, subscriptionId: null };
        const since = await p.db.ops((tx) => bookedAt(tx, task));
        await waitForMarketplace(p, { ...step, since, leastMs: error.retryAfterMs ?? 5_000 }, error.message);
      }
      throw error;
    }
  }
  const purchases = await p.db.ops((tx) => p.subscriptions.ofBuyer(tx, marketplace, buyerAccountId));
  const events: FulfillmentEvent[] = [];
  for (const one of purchases.filter(waitsForBuyer))
    events.push(await rereadTruth(p, marketplace, one.externalSubscriptionId, 'its buyer has signed up', one.marketplaceRefs));
  await p.db.ops(async (tx) => {
    for (const event of events) if (event.truth) await applyEvent(p, tx, { ...event, kind: 'buyer_ready' }, null);
    await task.completeIn(tx);
  });
}
