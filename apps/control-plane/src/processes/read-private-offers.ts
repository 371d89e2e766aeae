import type { TaskContext } from '#platform';
import { isOver, recordPrivateOffers } from '#entitlements';
import type { ProcessContext } from './context.js';

/** A private price may show up so late, and one that was agreed in a term comes into force with the next (contract azure §8). */
const SHOWN_WITHIN_MS = 48 * 3_600_000;

/** Task `private_offers.want`: they are read in a lane of their own, as nothing of the purchase waits for them. */
export async function wantPrivateOffers(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const { subscriptionId } = payload;
  await p.db.ops(async (tx) => {
    const { marketplace } = await p.subscriptions.get(tx, subscriptionId);
    if (p.marketplaces.has(marketplace) && p.marketplaces.get(marketplace).readPrivateOffers)
      for (const [lane, after] of [
        ['private_offers', 0],
        ['private_offers_later', SHOWN_WITHIN_MS],
      ] as const)
        await p.tasks.enqueue(tx, {
          lane: `${lane}:${subscriptionId}`,
          handler: 'private_offers.read',
          payload: { subscriptionId },
          runAt: new Date(p.clock.now().getTime() + after),
        });
    await task.completeIn(tx);
  });
}

/** Task `private_offers.read`: no message says that a private price applies (contract azure §8). */
export async function readPrivateOffers(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const { subscriptionId } = payload;
  const before = await p.db.ops((tx) => p.subscriptions.get(tx, subscriptionId));
  const offers = isOver(before.state)
    ? null
    : ((await p.marketplaces
        .get(before.marketplace)
        .readPrivateOffers?.(before.externalSubscriptionId, before.externalPlanId, before.marketplaceRefs)) ?? null);
  await p.db.ops(async (tx) => {
    const now = await p.subscriptions.get(tx, subscriptionId);
    // Of a plan that was left meanwhile: its own change reads the new one's.
    if (offers && now.externalPlanId === before.externalPlanId) await recordPrivateOffers(tx, subscriptionId, offers);
    await task.completeIn(tx);
  });
}
