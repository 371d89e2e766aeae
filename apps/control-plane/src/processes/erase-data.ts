import { RunAgainAt, type TaskContext } from '#platform';
import { erasePurchase, isTerminal } from '#entitlements';
import type { ProcessContext } from './context.js';
import { decideExport } from './purge-data.js';

/** How often a purchase is looked at whose usage is not settled yet. */
const LOOK_AGAIN_MS = 5 * 60_000;

/** On `subscription.data_deletion_due`: on a lane of its own, because it waits for the settling of the same purchase. */
export async function beginErasure(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const { subscriptionId } = payload;
  await p.db.ops(async (tx) => {
    await p.tasks.enqueue(tx, {
      lane: `erasure:${subscriptionId}`,
      handler: 'data.erase',
      payload: { subscriptionId },
      dedupeKey: `data.erase:${subscriptionId}`,
    });
    await task.completeIn(tx);
  });
}

/**
 * Task `data.erase`: the marketplace has deleted the purchase, so the buyer's data and the personal data go without waiting for
 * the retention, and without asking whether they were taken along. Usage is settled first (law 8), and what proves it stays under a pseudonym.
 */
export async function eraseData(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const { subscriptionId } = payload;
  const waits = await p.db.ops(async (tx) => {
    const subscription = await p.subscriptions.get(tx, subscriptionId);
    const placement = await p.engine.placementOfSubscription(tx, subscriptionId);
    if (!isTerminal(subscription.state) || (placement && !placement.accessEndedAt)) return true;
    if (placement?.phase === 'exporting') {
      await p.engine.closeExport(tx, placement.placementId);
      return true;
    }
    if (placement?.phase === 'ending') return true;
    if (placement?.phase === 'ended') {
      const reason = 'The marketplace has deleted the purchase: the data has to go.';
      await decideExport(p, tx, placement, { state: 'waived', by: 'control plane', reason });
    }
    if (placement) await p.engine.purge(tx, placement.placementId);
    const { erased, tenantId } = await erasePurchase(tx, subscriptionId, p.clock.now());
    if (tenantId) await p.tenants.erase(tx, tenantId);
    if (erased)
      await p.audit.record(tx, {
        tenantId: subscription.tenantId,
        actor: 'control plane',
        action: 'subscription.erased',
        subject: `subscription:${subscriptionId}`,
        detail: { tenantErased: tenantId !== null, storedDataPurged: placement !== null },
      });
    await task.completeIn(tx);
    return false;
  });
  if (waits) throw new RunAgainAt(new Date(p.clock.now().getTime() + LOOK_AGAIN_MS), 'usage is not settled yet');
}
