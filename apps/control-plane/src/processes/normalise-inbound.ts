import type { FulfillmentEvent, Marketplace } from '#marketplaces/core';
import type { ApplyOutcome } from '#entitlements';
import type { TaskContext, Tx } from '#platform';
import type { ProcessContext } from './context.js';

/** Task `inbound.normalise`: one stored message becomes facts, applied under the purchase's lane. No transaction is open across HTTP. */
export async function normaliseInbound(p: ProcessContext, payload: { inboxId: string; marketplace: Marketplace }, task: TaskContext): Promise<void> {
  const row = await p.db.ops((tx) => p.inbox.load(tx, payload.inboxId));
  if (row.state === 'processed') return;
  const events = await p.marketplaces.get(payload.marketplace).normalise(row);
  await p.db.ops(async (tx) => {
    let last: ApplyOutcome | null = null;
    for (const event of events) last = await applyEvent(p, tx, event, payload.inboxId);
    await p.inbox.mark(tx, payload.inboxId, last?.result === 'parked' ? 'parked' : 'processed', {
      subscriptionId: last?.subscriptionId ?? undefined,
      note: !last ? 'nothing to do' : last.result === 'applied' ? last.changes.join(', ') : last.why,
    });
    await task.completeIn(tx);
  });
}

/** Applies a fact and raises what a person must know. A foreign offer is journalled and left alone. */
export async function applyEvent(p: ProcessContext, tx: Tx, event: FulfillmentEvent, inboxId: string | null): Promise<ApplyOutcome> {
  const outcome = await p.subscriptions.apply(tx, event, inboxId);
  if (outcome.result === 'parked' && outcome.code === 'unmapped_plan') {
    await p.metering.raiseFinding(tx, {
      kind: 'unmapped_plan', dedupeKey: `unmapped_plan:${event.marketplace}:${event.externalSubscriptionId}`, subscriptionId: outcome.subscriptionId,
      evidence: { marketplace: event.marketplace, externalSubscriptionId: event.externalSubscriptionId, why: outcome.why, inboxId },
    });
  }
  return outcome;
}

/** Reads the purchase at its marketplace and applies what is found: after our own calls, and where a message was only a hint. */
export async function rereadTruth(p: ProcessContext, marketplace: Marketplace, externalSubscriptionId: string, note: string): Promise<FulfillmentEvent> {
  const truth = await p.marketplaces.get(marketplace).readTruth(externalSubscriptionId);
  return { kind: 'changed', marketplace, externalSubscriptionId, occurredAt: p.clock.now(), truth, note };
}
