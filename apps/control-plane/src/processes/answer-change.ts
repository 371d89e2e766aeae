import { RunAgainAt, type TaskContext } from '#platform';
import { MarketplaceBusy, MarketplaceRefusal, type Marketplace, type RequestedChange } from '#marketplaces/core';
import { subscriptionIdOf } from '#entitlements';
import { applyEvent, rereadTruth } from './normalise-inbound.js';
import type { ProcessContext } from './context.js';

interface ChangeRow {
  external_operation_id: string;
  kind: 'plan' | 'quantity';
  to_external_plan_id: string | null;
  to_quantity: number | null;
  state: string;
  reason: string | null;
  answered_there_at: Date | null;
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
  if (!row.answered_there_at) {
    const truth = await adapter.readTruth(payload.externalSubscriptionId);
    if (truth && adapter.answerChange) {
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
          () => adapter.answerChange!(truth, change, answer),
        );
      } catch (error) {
        if (error instanceof MarketplaceBusy)
          throw new RunAgainAt(new Date(p.clock.now().getTime() + (error.retryAfterMs ?? 2_000)), error.message);
        // A definite no means that a newer change won or the refusal was taken already: the truth decides below.
        if (!(error instanceof MarketplaceRefusal)) throw error;
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
  if (row.state === 'accepted' && !shows && task.attempt < 20 && p.clock.now().getTime() < deadline(row, p)) {
    throw new RunAgainAt(new Date(p.clock.now().getTime() + 1_000), 'the marketplace does not show the accepted change yet');
  }
  await p.db.ops(async (tx) => {
    await applyEvent(p, tx, event, null);
    await task.completeIn(tx);
  });
}

/** An accepted change that is not shown an hour after our answer is left to the next event or to reconciliation. */
const deadline = (row: ChangeRow, p: ProcessContext): number => (row.answered_there_at ?? p.clock.now()).getTime() + 3_600_000;
