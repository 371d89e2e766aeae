import type { SubscriptionRecord } from '#entitlements';
import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown } from '#marketplaces/core';
import type { ProcessContext } from './context.js';
import { alarmIfAboutUs } from './refused-credentials.js';

/** What a buyer reads at the marketplace while the order waits for us. */
const WORDS = {
  sign_up: 'Your order waits for your registration: press the button that registers you with the seller. It takes a minute.',
  setting_up: 'Your storage is being set up. The order is approved as soon as it serves, usually within a few minutes.',
} as const;
export type WaitingFor = keyof typeof WORDS;

/** Each text is shown once for a purchase; on a lane of its own, because nothing waits for it. */
export async function bookWord(p: ProcessContext, tx: Tx, record: SubscriptionRecord, waitingFor: WaitingFor): Promise<void> {
  const { subscriptionId } = record;
  if (record.state !== 'pending_fulfillment' || !p.marketplaces.get(record.marketplace).tellBuyer) return;
  if (waitingFor === 'sign_up' && (record.tenantId || record.truth.buyerReady)) return;
  await p.tasks.enqueue(tx, {
    lane: `tell:${subscriptionId}`,
    handler: 'buyer.tell',
    payload: { subscriptionId, waitingFor },
    dedupeKey: `buyer.tell:${subscriptionId}:${waitingFor}`,
  });
}

/** Task `buyer.tell`. A courtesy: where the marketplace does not take it, nothing is lost but the text. */
export async function tellBuyer(
  p: ProcessContext,
  payload: { subscriptionId: string; waitingFor: WaitingFor },
  task: TaskContext,
): Promise<void> {
  const { subscriptionId, waitingFor } = payload;
  const record = await p.db.ops((tx) => p.subscriptions.get(tx, subscriptionId));
  const { marketplace, externalSubscriptionId, state, tenantId } = record;
  const adapter = p.marketplaces.get(marketplace);
  if (adapter.tellBuyer && state === 'pending_fulfillment' && (waitingFor !== 'sign_up' || !tenantId)) {
    const message = WORDS[waitingFor];
    try {
      await p.calls.around(
        { target: marketplace, operation: 'tellBuyer', subject: `subscription:${subscriptionId}`, subscriptionId, intent: { message } },
        () => adapter.tellBuyer!(externalSubscriptionId, message).then(() => null),
      );
    } catch (error) {
      if (error instanceof MarketplaceBusy)
        throw new RunAgainAt(new Date(p.clock.now().getTime() + (error.retryAfterMs ?? 60_000)), error.message);
      await alarmIfAboutUs(p, marketplace, error);
      if (!(error instanceof MarketplaceRefusal) && !(error instanceof MarketplaceUnknown)) throw error;
    }
  }
  await p.db.ops((tx) => task.completeIn(tx));
}
