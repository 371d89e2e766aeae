import { uuidv7, type Clock, type Tx } from '#platform';
import type { RequestedChange, SubscriptionTruth } from '#marketplaces/core';
import type { PlanGate, PlanVersion } from '../domain/plan-version.js';
import { judgeStored, type StoredTold } from '../domain/stored-limit.js';
import type { Catalog } from './catalog.js';
import { quotaLimit } from './rights.js';
import { subscriptionIdOf, type Subscriptions } from './subscriptions.js';

export interface ChangeDecision {
  accept: boolean;
  reason?: string;
  changeRequestId: string | null;
  /** Refused because our catalog lacks the wanted plan: a person must know. */
  unmappedPlan?: string;
  /** Given up before, and decided anew because it waits there after all: it needs an answer of its own. */
  decidedAgain?: true;
}

/** Where a purchase is served. A placement stays where it is, so a plan must fit it. */
export interface ServedAt {
  region: string;
  /** Null: nothing is set up yet, and the plan of that time will tell. */
  shape: string | null;
  /** The most bytes that can be set aside for it there; null or left out: there is no bound. */
  roomBytes?: bigint | null;
  /** What is stored there, as it was told last; null or left out: nobody has told. */
  stored?: StoredTold | null;
}

/**
 * Why a change is refused, by a stable code. `change.no_room`: what it would allow does not fit where the purchase is served;
 * `change.stored_more`: more is stored than it would allow; `change.stored_unknown`: it would allow less, data is there, and nobody
 * has told for a while how much.
 */
export interface ChangeRefusal {
  code: 'change.refused' | 'change.no_room' | 'change.stored_more' | 'change.stored_unknown';
  reason: string;
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
    private readonly gate: PlanGate | null = null,
  ) {}

  /**
   * Null: it wants a plan that our catalog lacks, and the marketplace waits as long as we like: decided once the plan is mapped. One
   * that decides by itself after a while gets a no, because nobody could serve the plan.
   */
  async decide(tx: Tx, truth: SubscriptionTruth, change: RequestedChange, servedAt: ServedAt | null): Promise<ChangeDecision | null> {
    const subscriptionId = subscriptionIdOf(truth.marketplace, truth.externalSubscriptionId);
    const refusal = await this.refusalOf(tx, subscriptionId, truth, change, servedAt);
    const reason = refusal?.reason ?? null;
    if (refusal?.unmappedPlan && !change.answerBefore) return this.stored(tx, subscriptionId, change.externalOperationId);
    const id = uuidv7();
    const [decided] = await tx.query<{ change_request_id: string }>(
      `insert into change_requests (change_request_id, subscription_id, external_operation_id, kind, to_external_plan_id, to_quantity, state, reason, created_at, updated_at,
                                    from_external_plan_id, from_quantity)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11) 
       on conflict (subscription_id, external_operation_id) do update
          set state = excluded.state, reason = excluded.reason, answered_there_at = null, updated_at = excluded.updated_at
        where change_requests.state = 'dropped'
       returning change_request_id`,
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
        truth.externalPlanId,
        truth.quantity,
      ],
    );
    // A repeat, or the second of two deliveries at once, gets the first decision.
    if (!decided) return this.stored(tx, subscriptionId, change.externalOperationId);
    const changeRequestId = decided.change_request_id;
    const decidedAgain = changeRequestId !== id || undefined;
    return { accept: !reason, reason: reason ?? undefined, changeRequestId, unmappedPlan: refusal?.unmappedPlan, decidedAgain };
  }

  private async stored(tx: Tx, subscriptionId: string, externalOperationId: string): Promise<ChangeDecision | null> {
    const [row] = await tx.query<{ change_request_id: string; state: string; reason: string | null }>(
      'select change_request_id, state, reason from change_requests where subscription_id = $1 and external_operation_id = $2',
      [subscriptionId, externalOperationId],
    );
    return row ? { accept: row.state !== 'refused', reason: row.reason ?? undefined, changeRequestId: row.change_request_id } : null;
  }

  /** Why such a change would be refused; null: it would not. The same rules for a buyer's and for our own. */
  async refusal(
    tx: Tx,
    subscriptionId: string,
    truth: Pick<SubscriptionTruth, 'marketplace' | 'externalOfferId'>,
    change: Pick<RequestedChange, 'kind' | 'toExternalPlanId' | 'toQuantity' | 'isRevert'>,
    servedAt: ServedAt | null,
  ): Promise<ChangeRefusal | null> {
    const refused = await this.refusalOf(tx, subscriptionId, truth, change, servedAt);
    return refused && { code: refused.code ?? 'change.refused', reason: refused.reason };
  }

  private async refusalOf(
    tx: Tx,
    subscriptionId: string,
    truth: Pick<SubscriptionTruth, 'marketplace' | 'externalOfferId'>,
    change: Pick<RequestedChange, 'kind' | 'toExternalPlanId' | 'toQuantity' | 'isRevert'>,
    servedAt: ServedAt | null,
  ): Promise<{ reason: string; unmappedPlan?: string; code?: ChangeRefusal['code'] } | null> {
    const no = (reason: string): { reason: string } => ({ reason });
    // The revert after a refusal asks for what is in force: it must be accepted (contract azure §4).
    if (change.isRevert) return null;
    const record = await this.subscriptions.find(tx, subscriptionId);
    if (!record) return no('This purchase is not known here yet.');
    if (record.state !== 'active') return no(`A ${record.state} subscription cannot be changed.`);
    const toPlan = change.kind === 'plan' ? (change.toExternalPlanId ?? record.externalPlanId) : record.externalPlanId;
    if (change.kind === 'plan' ? toPlan === record.externalPlanId : change.toQuantity === record.quantity) return null;
    const current = await this.catalog.get(tx, record.planVersionId!);
    // More or fewer units stay under the version that was bought.
    const plan = change.kind === 'plan' ? await this.catalog.latest(tx, truth.marketplace, truth.externalOfferId, toPlan) : current;
    if (!plan) return { reason: `Plan ${toPlan} is not offered.`, unmappedPlan: toPlan };
    if (change.kind === 'plan' && servedAt) {
      if (servedAt.shape !== null && servedAt.shape !== plan.shape)
        return no(`Plan ${toPlan} needs other capacity (${plan.shape}) than the one this purchase is served on (${servedAt.shape}).`);
      if (servedAt.shape !== null && (plan.isolation ?? 'shared') !== (current.isolation ?? 'shared'))
        return no(
          `Plan ${toPlan} is served on ${plan.isolation === 'dedicated' ? 'a cluster of its own' : 'shared clusters'}, and this purchase is not.`,
        );
      if (servedAt.shape !== null && kindsOf(plan) !== kindsOf(current))
        return no(
          `Plan ${toPlan} binds other identity providers (${kindsOf(plan) || 'none'}) than the ones this purchase has (${kindsOf(current) || 'none'}).`,
        );
      if (!plan.regions.some((r) => r.id === servedAt.region))
        return no(`Plan ${toPlan} is not offered in region ${servedAt.region}, where this purchase is served.`);
    }
    if (change.kind === 'plan' && this.gate) {
      const shut = await this.gate(tx, plan, servedAt?.region ?? plan.defaultRegion);
      if (shut) return no(`Plan ${toPlan} is not ready there (${shut.rule}): ${shut.reason}`);
    }
    const missing = current.meters
      .filter((m) => m.emission === 'live' && !plan.meters.some((n) => n.meter === m.meter))
      .map((m) => m.meter);
    if (missing.length > 0) return no(`Plan ${toPlan} does not measure what is in use: ${missing.join(', ')}.`);
    const quantity = change.kind === 'quantity' ? change.toQuantity : record.quantity;
    if (change.kind === 'quantity' && (quantity ?? 0) < 1) return no('The quantity must be at least 1.');
    const { min, max } = { ...plan.quantity };
    if (quantity !== null && ((min ?? 0) > quantity || (max ?? quantity) < quantity))
      return no(`Plan ${toPlan} is sold with ${min ?? 1} to ${max ?? 'any number of'} units.`);
    const [limit, before] = [plan, current].map((p) => p.quotas.find((q) => q.name === 'storage_bytes'));
    const wanted = limit ? quotaLimit(limit, quantity) : null;
    const allowed = before ? quotaLimit(before, record.quantity) : null;
    if (wanted !== null && (allowed === null || wanted < allowed)) {
      const verdict = judgeStored(servedAt?.stored ?? null, wanted, this.clock.now());
      if (verdict !== 'fits') return storedRefusal(verdict, toPlan, servedAt!.stored!);
    }
    const room = servedAt?.roomBytes ?? null;
    const most = wanted ?? 0n;
    // What is allowed already stays allowed, also where there is too little room for it.
    if (room !== null && most > room && (allowed === null || most > allowed))
      return { code: 'change.no_room', reason: `There is no room where this purchase is served for what plan ${toPlan} would allow.` };
    return null;
  }
}

const storedRefusal = (verdict: 'more' | 'unknown', plan: string, told: StoredTold): ChangeRefusal =>
  verdict === 'more'
    ? { code: 'change.stored_more', reason: `More is stored than plan ${plan} allows, as told at ${told.at.toISOString()}.` }
    : {
        code: 'change.stored_unknown',
        reason: `Plan ${plan} allows less, and how much is stored has not been told since ${told.at.toISOString()}: ask again once it is.`,
      };

const kindsOf = (plan: Pick<PlanVersion, 'identity'>): string => [...(plan.identity ?? [])].sort().join(', ');
