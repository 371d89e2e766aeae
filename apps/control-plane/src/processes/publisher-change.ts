import { ProblemError, RunAgainAt, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, type PublisherChange } from '#marketplaces/core';
import {
  changeOfRow,
  getPublisherChange,
  insertPublisherChange,
  isOver,
  movePublisherChange,
  type PublisherChangeRow,
  type SubscriptionRecord,
} from '#entitlements';
import { applyEvent, rereadTruth } from './normalise-inbound.js';
import type { ProcessContext } from './context.js';
import { isAboutUs } from './refused-credentials.js';
import { servedAtOf } from './served-at.js';

/** "Every several seconds", and it may take minutes (contract azure §3). Business milliseconds. */
const POLL_MS = 5_000;
/** After this nobody believes in it any more; a person looks. */
const PATIENCE_MS = 24 * 3_600_000;
/** After a lost answer: so long what was asked for may not be listed yet, and asking again could ask twice. */
const LOOK_ONLY_MS = 60_000;
const ANSWER_LOST = 'change.answer_lost';

/** Checks by the rules of a buyer's change, stores the wish and books its task: one transaction. Throws the problem of the API. */
export async function requestPublisherChange(
  p: ProcessContext,
  tx: Tx,
  input: { subscriptionId: string; change: PublisherChange; reason: string; requestedBy: string; actor: string },
): Promise<PublisherChangeRow> {
  const subscription = await p.subscriptions.lock(tx, input.subscriptionId);
  if (!subscription) throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription.');
  await refuseImpossible(p, tx, subscription, input.change);
  const row = await insertPublisherChange(tx, { ...input, now: p.clock.now() });
  if (!row)
    throw new ProblemError(
      'conflict',
      'change.under_way',
      'Another change or cancellation of this purchase is under way. Wait until it is done.',
    );
  await p.tasks.enqueue(tx, {
    // Not the purchase's own lane: the messages that tell of this change must not wait for it.
    lane: `publisher_change:${input.subscriptionId}`,
    handler: 'publisher_change.run',
    payload: { publisherChangeId: row.publisher_change_id },
  });
  await p.audit.record(tx, {
    tenantId: subscription.tenantId,
    actor: input.actor,
    action: input.change.kind === 'cancel' ? 'subscription.cancel_requested' : 'subscription.change_requested',
    subject: `subscription:${input.subscriptionId}`,
    detail: { ...input.change, reason: input.reason, publisherChangeId: row.publisher_change_id },
  });
  return row;
}

async function refuseImpossible(p: ProcessContext, tx: Tx, s: SubscriptionRecord, change: PublisherChange): Promise<void> {
  const no = (code: string, detail: string): never => {
    throw new ProblemError('conflict', code, detail);
  };
  const adapter = p.marketplaces.has(s.marketplace) ? p.marketplaces.get(s.marketplace) : null;
  if (!adapter?.startPublisherChange)
    no('change.not_supported', `On ${s.marketplace} only the buyer can change or cancel a purchase. Ask the buyer to do it there.`);
  if (isOver(s.state)) no('subscription.over', 'This purchase has ended.');
  if (s.truth.readOnly) no('change.read_only', 'This purchase was made through a reseller. Only the reseller can change or cancel it.');
  if (change.kind === 'cancel') return;
  const same = change.kind === 'plan' ? change.toExternalPlanId === s.externalPlanId : change.toQuantity === s.quantity;
  if (same) no('change.nothing_to_change', `The purchase has this ${change.kind} already.`);
  const refused = await p.changes.refusal(
    tx,
    s.subscriptionId,
    { marketplace: s.marketplace, externalOfferId: s.externalOfferId },
    {
      kind: change.kind,
      toExternalPlanId: change.kind === 'plan' ? change.toExternalPlanId : null,
      toQuantity: change.kind === 'quantity' ? change.toQuantity : null,
    },
    await servedAtOf(p, tx, s.subscriptionId),
  );
  if (refused) no(refused.code, refused.reason);
}

/** Task `publisher_change.run`: asks once, polls until the marketplace says how it ended, then applies what the purchase shows. */
export async function runPublisherChange(p: ProcessContext, payload: { publisherChangeId: string }, task: TaskContext): Promise<void> {
  const { row, subscription } = await p.db.ops(async (tx) => {
    const found = (await getPublisherChange(tx, payload.publisherChangeId))!;
    return { row: found, subscription: await p.subscriptions.get(tx, found.subscription_id) };
  });
  if (row.state !== 'requested' && row.state !== 'sent') return;
  const { marketplace, externalSubscriptionId, marketplaceRefs } = subscription;
  const adapter = p.marketplaces.get(marketplace);
  const change = changeOfRow(row);
  const again = (why: string, ms = POLL_MS): RunAgainAt => new RunAgainAt(new Date(p.clock.now().getTime() + ms), why);
  const now = p.clock.now().getTime();
  const isLost = now - row.created_at.getTime() > PATIENCE_MS;
  const looksOnly = row.state === 'sent' || (row.error_code === ANSWER_LOST && now - row.updated_at.getTime() < LOOK_ONLY_MS);
  let progress;
  try {
    progress = looksOnly
      ? await adapter.readPublisherChange!(externalSubscriptionId, change, row.external_operation_id)
      : await p.calls.around(
          {
            target: marketplace,
            operation: change.kind === 'cancel' ? 'cancelSubscription' : 'changeSubscription',
            subject: `publisher_change:${row.publisher_change_id}`,
            subscriptionId: row.subscription_id,
            intent: { externalSubscriptionId, ...change, reason: row.reason, requestedBy: row.requested_by },
          },
          () => adapter.startPublisherChange!(subscription.truth, change),
        );
  } catch (error) {
    const isPassing = error instanceof MarketplaceBusy || error instanceof MarketplaceUnknown || isAboutUs(error);
    if (isPassing && isLost) return finish(p, row, task, NEVER_ANSWERED);
    if (error instanceof MarketplaceBusy) throw again(error.message, error.retryAfterMs ?? POLL_MS);
    if (error instanceof MarketplaceUnknown) {
      // It may have been taken: for a minute nothing but looking.
      if (row.state === 'requested')
        await p.db.ops((tx) =>
          movePublisherChange(tx, row.publisher_change_id, {
            state: 'requested',
            errorCode: ANSWER_LOST,
            errorDetail: error.message,
            now: p.clock.now(),
          }),
        );
      throw again(error.message);
    }
    // Refused credentials say nothing of this change: it goes on when they are mended.
    if (!(error instanceof MarketplaceRefusal) || isAboutUs(error)) throw error;
    await finish(p, row, task, { state: 'refused', errorCode: error.code, errorDetail: error.message });
    return;
  }
  const { state, externalOperationId } = progress;
  if (state === 'pending') {
    if (isLost) return finish(p, row, task, NEVER_ANSWERED);
    if (row.state === 'requested' && (!looksOnly || externalOperationId))
      await p.db.ops((tx) => movePublisherChange(tx, row.publisher_change_id, { state: 'sent', externalOperationId, now: p.clock.now() }));
    throw again('the marketplace works on it');
  }
  const note = `after our own ${change.kind === 'cancel' ? 'cancellation' : `${change.kind} change`}, which ${state}`;
  const event = await rereadTruth(p, marketplace, externalSubscriptionId, note, marketplaceRefs);
  await p.db.ops(async (tx) => {
    // Before the change, as whoever asks for another one holds them.
    await p.subscriptions.lock(tx, row.subscription_id);
    await movePublisherChange(tx, row.publisher_change_id, {
      state,
      externalOperationId,
      now: p.clock.now(),
      ...(state === 'succeeded' ? {} : { errorCode: `change.${state}`, errorDetail: `the marketplace says that the change has ${state}` }),
    });
    await applyEvent(p, tx, event, null);
    await task.completeIn(tx);
  });
}

const NEVER_ANSWERED = {
  state: 'unknown',
  errorCode: 'change.never_answered',
  errorDetail: 'the marketplace has not said for a day how it ended',
} as const;

const finish = (
  p: ProcessContext,
  row: PublisherChangeRow,
  task: TaskContext,
  to: { state: 'refused' | 'unknown'; errorCode: string; errorDetail: string },
): Promise<void> =>
  p.db.ops(async (tx) => {
    await movePublisherChange(tx, row.publisher_change_id, { ...to, now: p.clock.now() });
    await task.completeIn(tx);
  });
