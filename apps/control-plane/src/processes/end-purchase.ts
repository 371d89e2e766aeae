import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import { isFollowed, isOver, isTerminal, type SubscriptionRecord } from '#entitlements';
import type { ProcessContext } from './context.js';
import { bookPurge } from './purge-data.js';

/** On `subscription.suspended` and `subscription.reinstated`: access follows; data stays. */
export async function followSuspension(
  p: ProcessContext,
  payload: { subscriptionId: string; eventType: string },
  task: TaskContext,
): Promise<void> {
  await p.db.ops(async (tx) => {
    const placement = await p.engine.placementOfSubscription(tx, payload.subscriptionId);
    if (placement && payload.eventType === 'subscription.suspended')
      await p.engine.suspend(tx, placement.placementId, { reason: 'marketplace', at: p.clock.now() });
    if (payload.eventType === 'subscription.reinstated') {
      if (placement) await p.engine.resume(tx, placement.placementId);
      // Suspended before it was ever served: the placement is wanted now.
      else
        await p.tasks.enqueue(tx, { lane: task.lane, handler: 'placement.request', payload: { subscriptionId: payload.subscriptionId } });
    }
    await task.completeIn(tx);
  });
}

/**
 * On `subscription.ended` and `subscription.voided`: access ends at the cut, then the last sample is taken; nothing is deleted. An
 * end that may be a renewal's waits for the successor first; the placement of one that was taken over is no longer its own.
 */
export async function endAccess(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  await p.db.ops(async (tx) => {
    const subscription = (await p.subscriptions.lock(tx, payload.subscriptionId))!;
    const placement = await p.engine.placementOfSubscription(tx, payload.subscriptionId);
    const end = subscription.endedAt ?? p.clock.now();
    if (placement) {
      const waitsUntil = new Date(end.getTime() + p.successorHoldMs);
      const expected = subscription.truth.successorExpected === true;
      if (expected && waitsUntil > p.clock.now()) await lookAgain(p, tx, payload.subscriptionId, waitsUntil);
      else {
        await p.metering.releaseFromHold(tx, { placementId: placement.placementId, subscriptionId: payload.subscriptionId });
        await p.engine.endAccess(tx, placement.placementId, { at: end });
        if (expected) await noteMissing(p, tx, subscription);
        // Nothing was ever counted, so nothing will be settled: no later step would delete it.
        if (isTerminal(subscription.state)) await bookPurge(p, tx, placement.placementId, end);
      }
    }
    await task.completeIn(tx);
  });
}

/** On a lane of its own: the message that tells whether a successor comes must not wait behind this. */
const lookAgain = (p: ProcessContext, tx: Tx, subscriptionId: string, runAt: Date): Promise<string> =>
  p.tasks.enqueue(tx, {
    lane: waitingLane(subscriptionId),
    handler: 'access.end',
    payload: { subscriptionId },
    runAt,
    dedupeKey: `access.end:${subscriptionId}:${runAt.toISOString()}`,
  });

const waitingLane = (subscriptionId: string): string => `successor:${subscriptionId}`;

/** A buyer may have renewed and stand at a closed door: that is for a person, at once. */
async function noteMissing(p: ProcessContext, tx: Tx, s: SubscriptionRecord): Promise<void> {
  const detail = { endedAt: s.endedAt?.toISOString() ?? null, waitedMs: p.successorHoldMs };
  await p.audit.record(tx, {
    tenantId: s.tenantId,
    actor: 'control plane',
    action: 'subscription.successor_missing',
    subject: `subscription:${s.subscriptionId}`,
    detail,
  });
  const why = 'it ended without a word that this was final, and no successor came';
  await raiseSuccession(p, tx, s, 'missing', { ...detail, why });
}

/** When the marketplace says that a purchase goes on as another one: that one is looked for after as long as an end would wait. */
export const awaitSuccessor = (p: ProcessContext, tx: Tx, subscriptionId: string): Promise<string> =>
  p.tasks.enqueue(tx, {
    lane: waitingLane(subscriptionId),
    handler: 'successor.look',
    payload: { subscriptionId },
    runAt: new Date(p.clock.now().getTime() + p.successorHoldMs),
    dedupeKey: `successor.look:${subscriptionId}`,
  });

/** Task `successor.look`: its licence has not ended, so it is served on, and nobody pays for it: a person must see that. */
export async function lookForSuccessor(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  await p.db.ops(async (tx) => {
    const s = await p.subscriptions.get(tx, payload.subscriptionId);
    const isAlone = s.tenantId !== null && !isOver(s.state) && !s.supersededBy && !(await isFollowed(tx, s.subscriptionId));
    const why = 'the marketplace has renewed or replaced it, and no successor came; it is served on';
    if (isAlone) await raiseSuccession(p, tx, s, 'missing', { waitedMs: p.successorHoldMs, why });
    await task.completeIn(tx);
  });
}

/**
 * A renewal or replacement did not take its predecessor's place. `missing`: it never came; `refused`: it names a predecessor whose
 * place it may not have; `apart`: it was registered before the link was known, and two tenants of one buyer stand side by side.
 */
export const raiseSuccession = (
  p: ProcessContext,
  tx: Tx,
  { subscriptionId, tenantId, marketplace, externalSubscriptionId }: SubscriptionRecord,
  what: 'missing' | 'refused' | 'apart',
  evidence: Record<string, unknown>,
): Promise<boolean> =>
  p.metering.raiseFinding(tx, {
    kind: 'succession',
    dedupeKey: `succession:${what}:${subscriptionId}`,
    tenantId,
    subscriptionId,
    evidence: { what, marketplace, externalSubscriptionId, ...evidence },
  });

/** In the transaction of the end: what the placement reports from then on is the successor's, if one comes. */
export async function holdUsage(p: ProcessContext, tx: Tx, subscriptionId: string): Promise<void> {
  const subscription = await p.subscriptions.get(tx, subscriptionId);
  const placement = await p.engine.placementOfSubscription(tx, subscriptionId);
  if (!placement || !isOver(subscription.state) || subscription.supersededBy || !subscription.endedAt) return;
  await p.metering.holdForSuccessor(tx, { placementId: placement.placementId, subscriptionId, from: subscription.endedAt });
}

/** On `placement.access_ended`: no usage can come any more; the final hour can close. */
export async function unbindUsage(p: ProcessContext, payload: { placementId: string }, task: TaskContext): Promise<void> {
  await p.db.ops(async (tx) => {
    const placement = await p.engine.getPlacement(tx, payload.placementId);
    await p.metering.unbindPlacement(tx, { placementId: placement.placementId, until: placement.accessEndedAt ?? p.clock.now() });
    await task.completeIn(tx);
  });
}

/** On `usage.settled`: only now is the purchase cancelled; deletion waits for the retention on top. */
export async function finishPurchase(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  await p.db.ops(async (tx) => {
    const placement = await p.engine.placementOfSubscription(tx, payload.subscriptionId);
    const subscription = await p.subscriptions.get(tx, payload.subscriptionId);
    if (
      placement &&
      !placement.accessEndedAt &&
      subscription.truth.successorExpected &&
      task.lane !== waitingLane(payload.subscriptionId)
    ) {
      // It waits behind the wait for the successor, where it holds up none of the purchase's messages.
      await p.tasks.enqueue(tx, {
        lane: waitingLane(payload.subscriptionId),
        handler: 'purchase.finish',
        payload: { subscriptionId: payload.subscriptionId },
      });
      return task.completeIn(tx);
    }
    if (placement && !placement.accessEndedAt) throw new RunAgainAt(new Date(p.clock.now().getTime() + 1_000), 'access has not ended yet');
    if (!(await p.metering.isSettled(tx, payload.subscriptionId)))
      throw new RunAgainAt(new Date(p.clock.now().getTime() + 1_000), 'usage is not settled yet');
    await p.subscriptions.settle(tx, payload.subscriptionId);
    if (placement) await bookPurge(p, tx, placement.placementId, placement.accessEndedAt ?? p.clock.now());
    await task.completeIn(tx);
  });
}
