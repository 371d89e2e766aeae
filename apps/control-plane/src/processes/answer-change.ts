import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy, MarketplaceRefusal, type FulfillmentEvent, type Marketplace, type RequestedChange } from '#marketplaces/core';
import { dropRequests, subscriptionIdOf } from '#entitlements';
import { applyEvent, rereadTruth } from './normalise-inbound.js';
import type { ProcessContext } from './context.js';
import { isAboutUs } from './refused-credentials.js';
import { growingPause, waitForMarketplace } from './wait-for-marketplace.js';

interface ChangeRow {
  change_request_id: string;
  external_operation_id: string;
  kind: 'plan' | 'quantity';
  to_external_plan_id: string | null;
  to_quantity: number | null;
  /** In force at the decision; null in rows of before migration 0040. */
  from_external_plan_id: string | null;
  from_quantity: number | null;
  state: string;
  reason: string | null;
  answered_there_at: Date | null;
  created_at: Date;
}

/**
 * Task `change.answer`: says yes or no to the marketplace explicitly (an unanswered change has hung for others), then
 * re-reads the purchase. The change is applied here only once the marketplace shows it.
 */
export async function answerChange(
  p: ProcessContext,
  payload: { marketplace: Marketplace; changeRequestId: string; externalSubscriptionId: string },
  task: TaskContext,
): Promise<void> {
  const subscriptionId = subscriptionIdOf(payload.marketplace, payload.externalSubscriptionId);
  const adapter = p.marketplaces.get(payload.marketplace);
  const [row] = await p.db.ops((tx) =>
    tx.query<ChangeRow>('select * from change_requests where change_request_id = $1', [payload.changeRequestId]),
  );
  if (!row || row.state === 'applied' || row.state === 'dropped') return;
  const change: RequestedChange = {
    externalOperationId: row.external_operation_id,
    kind: row.kind,
    toExternalPlanId: row.to_external_plan_id,
    toQuantity: row.to_quantity,
    answerBefore: null,
    requestedByUs: false,
  };
  let refusal: MarketplaceRefusal | null = null;
  const about = { externalSubscriptionId: payload.externalSubscriptionId, externalOperationId: row.external_operation_id };
  const step = { name: 'answerChange', marketplace: payload.marketplace, about, subscriptionId };
  if (!row.answered_there_at) {
    const shown = await adapter.readTruth(payload.externalSubscriptionId);
    if (shown && adapter.answerChange) {
      // Silence may have accepted meanwhile: then the truth of now is what the refusal has to undo.
      const before = row.from_external_plan_id
        ? { ...shown, externalPlanId: row.from_external_plan_id, quantity: row.from_quantity }
        : shown;
      const answer = { accept: row.state === 'accepted', reason: row.reason ?? undefined };
      try {
        await p.calls.around(
          {
            target: payload.marketplace,
            operation: 'answerChange',
            subject: `change:${payload.changeRequestId}`,
            subscriptionId,
            intent: { ...change, ...answer },
          },
          () => adapter.answerChange!(before, change, answer),
        );
      } catch (error) {
        if (error instanceof MarketplaceBusy)
          await waitForMarketplace(p, { ...step, since: row.created_at, leastMs: error.retryAfterMs ?? 2_000 }, error.message);
        // A definite no about this change means that a newer one won or it is settled there: the truth decides below.
        if (!(error instanceof MarketplaceRefusal) || isAboutUs(error)) throw error;
        refusal = error;
      }
    }
    await p.db.ops((tx) =>
      tx.query('update change_requests set answered_there_at = $2, updated_at = $2 where change_request_id = $1', [
        payload.changeRequestId,
        p.clock.now(),
      ]),
    );
  }
  const event = await rereadTruth(
    p,
    payload.marketplace,
    payload.externalSubscriptionId,
    `after answering ${row.kind} change ${row.external_operation_id}`,
  );
  const shows =
    !!event.truth &&
    (row.kind === 'plan' ? event.truth.externalPlanId === row.to_external_plan_id : event.truth.quantity === row.to_quantity);
  // Approved there, in force at the end of the cycle: its own event will tell, months ahead or not.
  const isAgreed = row.kind === 'plan' && event.truth?.agreedPlanId === row.to_external_plan_id;
  const isRefused = row.state === 'refused';
  const now = p.clock.now().getTime();
  const since = now - (row.answered_there_at?.getTime() ?? now);
  // Asked back, but not back yet: what was refused is not applied meanwhile.
  if (isRefused && shows && !refusal && since < UNDO_MS)
    throw new RunAgainAt(new Date(now + 5_000), 'the marketplace still shows the refused change');
  if (!isRefused && !shows && !isAgreed && !refusal && since < SHOWN_WITHIN_MS)
    throw new RunAgainAt(new Date(now + growingPause(since, 1_000)), 'the marketplace does not show the accepted change yet');
  await p.db.ops(async (tx) => {
    await applyEvent(p, tx, event, null);
    if (!isRefused && !shows && !isAgreed)
      await dropRequests(tx, { subscriptionId, externalOperationId: row.external_operation_id, now: p.clock.now() });
    if (isRefused && shows) await raiseInForce(p, tx, payload.marketplace, event, row, refusal?.message ?? 'it was asked back in vain');
    await task.completeIn(tx);
  });
}

/** The buyer has, and may be billed by the marketplace for, what we said no to. */
const raiseInForce = (
  p: ProcessContext,
  tx: Tx,
  marketplace: Marketplace,
  { externalSubscriptionId }: FulfillmentEvent,
  row: ChangeRow,
  why: string,
): Promise<boolean> =>
  p.metering.raiseFinding(tx, {
    kind: 'change_in_force',
    dedupeKey: `change_in_force:${row.change_request_id}`,
    subscriptionId: subscriptionIdOf(marketplace, externalSubscriptionId),
    evidence: {
      marketplace,
      externalSubscriptionId,
      externalOperationId: row.external_operation_id,
      refused: row.kind === 'plan' ? `plan ${row.to_external_plan_id}` : `quantity ${row.to_quantity}`,
      before: row.kind === 'plan' ? row.from_external_plan_id : row.from_quantity,
      reason: row.reason,
      why,
    },
  });

/** An accepted change that is not shown an hour after our answer is given up; should it come, the next event or a drift run applies it. */
const SHOWN_WITHIN_MS = 3_600_000;
/** So long a refused change may take to be undone there, with the purchase's lane waiting. */
const UNDO_MS = 120_000;
