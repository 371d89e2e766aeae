import type { Tx } from '#platform';
import type { FulfillmentEvent, RequestedChange } from '#marketplaces/core';
import { subscriptionIdOf, type ApplyOutcome, type ChangeDecision } from '#entitlements';
import type { ProcessContext } from './context.js';
import { servedAtOf } from './served-at.js';

/**
 * A buyer asks for another plan or quantity: decided from our own rows, and the explicit answer to the marketplace is booked in
 * the same transaction. Null where the event asks for nothing, where we asked ourselves, or where the purchase is not ours to
 * answer for: of a foreign offer, or of a plan that is not mapped. `parked`: it waits until its plan is mapped.
 */
export async function decideChange(
  p: ProcessContext,
  tx: Tx,
  event: FulfillmentEvent,
  applied: ApplyOutcome,
): Promise<ChangeDecision | 'parked' | null> {
  const change = wantedChange(event);
  if (!change || !event.truth || change.requestedByUs) return null;
  if (applied.result === 'parked' && !applied.subscriptionId) return null;
  const servedAt = await servedAtOf(p, tx, subscriptionIdOf(event.marketplace, event.externalSubscriptionId));
  const decision = await p.changes.decide(tx, event.truth, change, servedAt);
  const wantedPlanId = decision ? decision.unmappedPlan : change.toExternalPlanId;
  if (wantedPlanId) await raiseUnmapped(p, tx, event, wantedPlanId, decision ? 'refused: the marketplace decides by itself' : 'waits');
  if (!decision) return 'parked';
  await p.tasks.enqueue(tx, {
    // Not the purchase's own lane: until the marketplace shows the change, messages of the purchase must not wait for it.
    lane: `change:${subscriptionIdOf(event.marketplace, event.externalSubscriptionId)}:${String(decision.changeRequestId)}`,
    handler: 'change.answer',
    dedupeKey: `change.answer:${String(decision.changeRequestId)}${decision.decidedAgain ? `:${p.clock.now().toISOString()}` : ''}`,
    payload: {
      marketplace: event.marketplace,
      changeRequestId: decision.changeRequestId,
      externalSubscriptionId: event.externalSubscriptionId,
    },
  });
  return decision;
}

/** What the message asks for, else what the marketplace shows as waiting for us: the message of that may be lost, late or early. */
export const wantedChange = (event: FulfillmentEvent): RequestedChange | undefined =>
  event.kind === 'change_requested' ? event.change : event.truth?.pendingChange;

/** Somebody wants to pay for a plan that nobody has described to us. */
const raiseUnmapped = (p: ProcessContext, tx: Tx, event: FulfillmentEvent, wantedPlanId: string, change: string): Promise<boolean> =>
  p.metering.raiseFinding(tx, {
    kind: 'unmapped_plan',
    dedupeKey: `unmapped_plan:${event.marketplace}:${event.externalSubscriptionId}:${wantedPlanId}`,
    subscriptionId: subscriptionIdOf(event.marketplace, event.externalSubscriptionId),
    evidence: {
      marketplace: event.marketplace,
      externalSubscriptionId: event.externalSubscriptionId,
      wantedOfferId: event.truth!.externalOfferId,
      wantedPlanId,
      change,
      why: `the buyer asks for plan ${wantedPlanId}, which is not in the catalog`,
    },
  });
