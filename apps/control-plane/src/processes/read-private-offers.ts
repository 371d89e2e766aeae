import type { TaskContext } from '#platform';
import { isOver, recordPrivateOffers } from '#entitlements';
import type { ProcessContext } from './context.js';

/** Task `private_offers.want`: they are read in a lane of their own, as nothing of the purchase waits for them. */
export async function wantPrivateOffers(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const { subscriptionId } = payload;
  await p.db.ops(async (tx) => {
    const { marketplace } = await p.subscriptions.get(tx, subscriptionId);
    if (p.marketplaces.has(marketplace) && p.marketplaces.get(marketplace).readPrivateOffers)
      await p.tasks.enqueue(tx, { lane: `private_offers:${subscriptionId}`, handler: 'private_offers.read', payload: { subscriptionId } });
    await task.completeIn(tx);
  });
}

/** Task `private_offers.read`: no message says that a private price applies (contract azure §8). */
export async function readPrivateOffers(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const { subscriptionId } = payload;
  const before = await p.db.ops((tx) => p.subscriptions.get(tx, subscriptionId));
  const offers = isOver(before.state)
    ? null
    : ((await p.marketplaces.get(before.marketplace).readPrivateOffers?.(before.externalSubscriptionId, before.externalPlanId)) ?? null);
  await p.db.ops(async (tx) => {
    const now = await p.subscriptions.get(tx, subscriptionId);
    // Of a plan that was left meanwhile: its own change reads the new one's.
    if (offers && now.externalPlanId === before.externalPlanId) await recordPrivateOffers(tx, subscriptionId, offers);
    await task.completeIn(tx);
  });
}
