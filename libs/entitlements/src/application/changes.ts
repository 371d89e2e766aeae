import { uuidv7, type Clock, type Tx } from '#platform';
import type { RequestedChange, SubscriptionTruth } from '#marketplaces/core';
import type { Catalog } from './catalog.js';
import { quotaLimit } from './rights.js';
import { subscriptionIdOf, type Subscriptions } from './subscriptions.js';

export interface ChangeDecision {
  accept: boolean;
  reason?: string;
  changeRequestId: string | null;
}

/**
 * Decides a plan or quantity change while the marketplace waits (Azure: 10 s). Fast: one read of our own rows. A repeated
 * operation id gets the stored decision; the "revert" change that follows a refusal is accepted.
 */
export class Changes {
  constructor(
    private readonly clock: Clock,
    private readonly catalog: Catalog,
    private readonly subscriptions: Subscriptions,
  ) {}

  async decide(tx: Tx, truth: SubscriptionTruth, change: RequestedChange): Promise<ChangeDecision> {
    const subscriptionId = subscriptionIdOf(truth.marketplace, truth.externalSubscriptionId);
    const reason = await this.refusal(tx, subscriptionId, truth, change);
    const id = uuidv7();
    const inserted = await tx.query(
      `insert into change_requests (change_request_id, subscription_id, external_operation_id, kind, to_external_plan_id, to_quantity, state, reason, created_at, updated_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) on conflict (subscription_id, external_operation_id) do nothing returning 1`,
      [
        id,
        subscriptionId,
        change.externalOperationId,
        change.kind,
        change.toExternalPlanId,
        change.toQuantity,
        reason ? 'refused' : 'accepted',
        reason,
        this.clock.now(),
      ],
    );
    // A repeat, or the second of two deliveries at once, gets the first decision.
    if (inserted.length === 0) return this.stored(tx, subscriptionId, change.externalOperationId);
    return { accept: !reason, reason: reason ?? undefined, changeRequestId: id };
  }

  private async stored(tx: Tx, subscriptionId: string, externalOperationId: string): Promise<ChangeDecision> {
    const [row] = await tx.query<{ change_request_id: string; state: string; reason: string | null }>(
      'select change_request_id, state, reason from change_requests where subscription_id = $1 and external_operation_id = $2',
      [subscriptionId, externalOperationId],
    );
    return { accept: row!.state !== 'refused', reason: row!.reason ?? undefined, changeRequestId: row!.change_request_id };
  }

  /** Why such a change would be refused; null: it would not. The same rules for a buyer's and for our own. */
  async refusal(
    tx: Tx,
    subscriptionId: string,
    truth: Pick<SubscriptionTruth, 'marketplace' | 'externalOfferId'>,
    change: Pick<RequestedChange, 'kind' | 'toExternalPlanId' | 'toQuantity' | 'isRevert'>,
  ): Promise<string | null> {
    // The revert after a refusal asks for what is in force: it must be accepted (contract azure §4).
    if (change.isRevert) return null;
    const record = await this.subscriptions.find(tx, subscriptionId);
    if (!record) return 'This purchase is not known here yet.';
    if (record.state !== 'active') return `A ${record.state} subscription cannot be changed.`;
    const toPlan = change.kind === 'plan' ? (change.toExternalPlanId ?? record.externalPlanId) : record.externalPlanId;
    if (change.kind === 'plan' ? toPlan === record.externalPlanId : change.toQuantity === record.quantity) return null;
    const current = await this.catalog.get(tx, record.planVersionId!);
    // More or fewer units stay under the version that was bought.
    const plan = change.kind === 'plan' ? await this.catalog.latest(tx, truth.marketplace, truth.externalOfferId, toPlan) : current;
    if (!plan) return `Plan ${toPlan} is not offered.`;
    const missing = current.meters
      .filter((m) => m.emission === 'live' && !plan.meters.some((n) => n.meter === m.meter))
      .map((m) => m.meter);
    if (missing.length > 0) return `Plan ${toPlan} does not measure what is in use: ${missing.join(', ')}.`;
    const [used] = await tx.query<{ value: string | null }>(
      `select (last_usage->>'stored_bytes') as value from subscription_usage where subscription_id = $1`,
      [subscriptionId],
    );
    const quantity = change.kind === 'quantity' ? change.toQuantity : record.quantity;
    if (change.kind === 'quantity' && (quantity ?? 0) < 1) return 'The quantity must be at least 1.';
    const limit = plan.quotas.find((q) => q.name === 'storage_bytes');
    if (limit && used?.value && BigInt(used.value) > quotaLimit(limit, quantity)) return `More is stored now than plan ${toPlan} allows.`;
    return null;
  }
}
