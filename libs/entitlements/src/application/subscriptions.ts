import { ProblemError, uuidv5, uuidv7, type Clock, type Tasks, type Tx } from '#platform';
import type { FulfillmentEvent, Marketplace, SubscriptionTruth } from '#marketplaces/core';
import { actionTowards, nextState, type SubscriptionAction } from '../domain/subscription-states.js';
import type { PlanVersion } from '../domain/plan-version.js';
import { SubscriptionRecord } from '../infra/subscription.record.js';
import { closeSegment, currentSegment, openSegment } from '../infra/segments.sql.js';
import type { Catalog } from './catalog.js';
import { endRights, grantRights } from './rights.js';

/** The lane of everything that concerns one purchase: fetch order is apply order. */
export const subscriptionLane = (subscriptionId: string): string => `subscription:${subscriptionId}`;

/** A purchase's id is made of its key, so racing webhook and landing meet in one row. */
export const subscriptionIdOf = (marketplace: Marketplace, externalSubscriptionId: string): string =>
  uuidv5('subscription', marketplace, externalSubscriptionId);

export type ApplyOutcome =
  | { result: 'applied'; subscriptionId: string; changes: string[] }
  | { result: 'unchanged'; subscriptionId: string; why: string }
  | { result: 'parked'; subscriptionId: string | null; code: 'unmapped_plan' | 'foreign_offer' | 'gone'; why: string };

const DAY = 86_400_000;

/**
 * The purchase and its state machine. Late, repeated and reordered events end alike: the truth that was re-read decides
 * the state, the event gives the instant of the cut.
 */
export class Subscriptions {
  constructor(
    private readonly clock: Clock,
    private readonly tasks: Tasks,
    private readonly catalog: Catalog,
  ) {}

  async apply(tx: Tx, event: FulfillmentEvent, inboxId: string | null): Promise<ApplyOutcome> {
    const outcome = await this.fold(tx, event);
    await tx.query(
      `insert into fulfillment_events (fulfillment_event_id, inbox_id, subscription_id, marketplace, external_subscription_id, kind, occurred_at, note, outcome, recorded_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
      [uuidv7(), inboxId, outcome.subscriptionId, event.marketplace, event.externalSubscriptionId, event.kind, event.occurredAt, event.note,
        outcome.result === 'applied' ? `applied: ${outcome.changes.join(', ')}` : `${outcome.result}: ${outcome.why}`, this.clock.now()],
    );
    return outcome;
  }

  private async fold(tx: Tx, event: FulfillmentEvent): Promise<ApplyOutcome> {
    const truth = event.truth;
    const id = subscriptionIdOf(event.marketplace, event.externalSubscriptionId);
    if (!truth) return { result: 'parked', subscriptionId: (await this.find(tx, id)) ? id : null, code: 'gone', why: 'the marketplace does not know this purchase' };
    const plan = await this.catalog.latest(tx, truth.marketplace, truth.externalOfferId, truth.externalPlanId);
    let record = await this.lock(tx, id);
    if (!record && !plan) {
      return (await this.catalog.knowsOffer(tx, truth.marketplace, truth.externalOfferId))
        ? { result: 'parked', subscriptionId: null, code: 'unmapped_plan', why: `plan ${truth.externalPlanId} of ${truth.externalOfferId} is not in the catalog` }
        : { result: 'parked', subscriptionId: null, code: 'foreign_offer', why: `offer ${truth.externalOfferId} is not ours to serve` };
    }
    const changes: string[] = [];
    if (!record) {
      record = await this.create(tx, id, truth, plan!);
      changes.push('created');
    } else if (record.truthVersion && truth.version && truth.version < record.truthVersion) {
      return { result: 'unchanged', subscriptionId: id, why: 'a newer view is applied already' };
    }
    await this.linkAliases(tx, record, truth);
    this.refresh(record, truth);
    await this.move(tx, record, event, truth, changes);
    await this.follow(tx, record, event, truth, plan, changes);
    record.updatedAt = this.clock.now();
    await tx.manager.save(SubscriptionRecord, record);
    return changes.length > 0 ? { result: 'applied', subscriptionId: id, changes } : { result: 'unchanged', subscriptionId: id, why: 'nothing new' };
  }

  /** Moves the state towards the truth and makes the cut that goes with it. */
  private async move(tx: Tx, record: SubscriptionRecord, event: FulfillmentEvent, truth: SubscriptionTruth, changes: string[]): Promise<void> {
    const action = actionTowards(record.state, truth.state);
    if (!action) return;
    const to = nextState(record.state, action);
    if (!to) return;
    if (action === 'activate' && !record.tenantId) await this.tasks.publish(tx, this.event('subscription.needs_tenant', record));
    const from = record.state;
    record.state = to;
    record.suspendedSource = to === 'suspended' ? 'marketplace' : null;
    changes.push(`${from} → ${to}`);
    const at = await this.cutAt(tx, record.subscriptionId, event);
    if (action === 'end') record.endedAt = at;
    await this.cut(tx, record, action, at);
    await this.tasks.publish(tx, this.event(PAST[action], record));
    record.lastOccurredAt = event.occurredAt;
  }

  /** Plan, quantity and term follow the truth; each change is a cut. */
  private async follow(tx: Tx, record: SubscriptionRecord, event: FulfillmentEvent, truth: SubscriptionTruth, plan: PlanVersion | null, changes: string[]): Promise<void> {
    const planChanged = record.externalPlanId !== truth.externalPlanId;
    const quantityChanged = record.quantity !== truth.quantity && truth.quantity !== null;
    const termMoved = record.termStartsAt !== null && truth.term.startsAt !== null && record.termStartsAt.getTime() !== truth.term.startsAt.getTime();
    record.termStartsAt = truth.term.startsAt;
    record.termEndsAt = truth.term.endsAt;
    record.termUnit = truth.term.unit;
    if (!planChanged && !quantityChanged && !termMoved) return;
    if (planChanged && !plan) {
      // Rights stay as they were; a person maps the plan. Guessing a default would bill or serve wrongly.
      changes.push(`unmapped plan ${truth.externalPlanId}`);
      await this.tasks.publish(tx, this.event('subscription.plan_unmapped', record));
      return;
    }
    if (planChanged) {
      record.planVersionId = plan!.planVersionId;
      record.externalPlanId = truth.externalPlanId;
      changes.push(`plan ${truth.externalPlanId}`);
    }
    if (quantityChanged) {
      record.quantity = truth.quantity;
      changes.push(`quantity ${String(truth.quantity)}`);
    }
    if (termMoved) changes.push('term');
    if (record.state === 'active' || record.state === 'suspended') {
      const at = await this.cutAt(tx, record.subscriptionId, event);
      await this.recut(tx, record, at, planChanged ? 'plan_change' : quantityChanged ? 'quantity_change' : 'renewal', record.state === 'active');
      if (planChanged || quantityChanged) {
        if (record.tenantId) await grantRights(tx, record, await this.catalog.get(tx, record.planVersionId!), at);
        await this.tasks.publish(tx, this.event('subscription.changed', record));
        await tx.query(
          `update change_requests set state = 'applied', effective_at = $2, updated_at = $3 where subscription_id = $1 and state = 'accepted'
             and (to_external_plan_id = $4 or to_quantity = $5)`,
          [record.subscriptionId, at, this.clock.now(), planChanged ? truth.externalPlanId : null, quantityChanged ? truth.quantity : null],
        );
      }
    }
  }

  private async cut(tx: Tx, record: SubscriptionRecord, action: SubscriptionAction, at: Date): Promise<void> {
    switch (action) {
      case 'activate':
        record.acknowledgedAt = record.acknowledgedAt ?? this.clock.now();
        if (record.tenantId) await this.openFirst(tx, record, at);
        return;
      case 'suspend':
        return this.recut(tx, record, at, 'suspension', false);
      case 'reinstate':
        return this.recut(tx, record, at, 'reinstatement', true);
      case 'end': {
        const open = await currentSegment(tx, record.subscriptionId);
        if (open && !open.endsAt) await closeSegment(tx, open.segmentId, at);
        // Nothing was ever served or counted: there is nothing to settle.
        if (!open && record.state === 'closing') record.state = 'cancelled';
        return endRights(tx, record.subscriptionId, at);
      }
      case 'void':
      case 'schedule':
      case 'settle':
        return;
    }
  }

  private async openFirst(tx: Tx, record: SubscriptionRecord, at: Date): Promise<void> {
    if (await currentSegment(tx, record.subscriptionId)) return;
    await openSegment(tx, { ...this.segmentOf(record), sequence: 1, startsAt: at, billable: true, reason: 'activated' }, this.clock.now());
    await grantRights(tx, record, await this.catalog.get(tx, record.planVersionId!), at);
  }

  private async recut(tx: Tx, record: SubscriptionRecord, at: Date, reason: string, billable: boolean): Promise<void> {
    const open = await currentSegment(tx, record.subscriptionId);
    if (!open || open.endsAt) return;
    await closeSegment(tx, open.segmentId, at);
    await openSegment(tx, { ...this.segmentOf(record), sequence: open.sequence + 1, startsAt: at, billable, reason }, this.clock.now());
  }

  private segmentOf(record: SubscriptionRecord): { subscriptionId: string; tenantId: string; planVersionId: string; externalPlanId: string; quantity: number | null; termStartsAt: Date | null; termEndsAt: Date | null } {
    return {
      subscriptionId: record.subscriptionId, tenantId: record.tenantId!, planVersionId: record.planVersionId!, externalPlanId: record.externalPlanId,
      quantity: record.quantity, termStartsAt: record.termStartsAt, termEndsAt: record.termEndsAt,
    };
  }

  /** The cut is when it happened there, never before the segment it ends has begun, never in the future. */
  private async cutAt(tx: Tx, subscriptionId: string, event: FulfillmentEvent): Promise<Date> {
    const wanted = (event.effectiveAt ?? event.occurredAt).getTime();
    const open = await currentSegment(tx, subscriptionId);
    return new Date(Math.min(this.clock.now().getTime(), Math.max(wanted, open ? open.startsAt.getTime() + 1 : 0)));
  }

  /** Binds the purchase to its tenant; if it is active already, counting starts here (nothing was served before). */
  async bindTenant(tx: Tx, subscriptionId: string, tenantId: string): Promise<void> {
    const record = await this.lock(tx, subscriptionId);
    if (!record) throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription.');
    if (record.tenantId === tenantId) return;
    if (record.tenantId) throw new ProblemError('conflict', 'subscription.tenant_bound', 'This purchase belongs to a tenant already.');
    record.tenantId = tenantId;
    if (record.state === 'active') await this.openFirst(tx, record, this.clock.now());
    record.updatedAt = this.clock.now();
    await tx.manager.save(SubscriptionRecord, record);
    await this.tasks.publish(tx, this.event('subscription.tenant_bound', record));
  }

  /** Ends the settling: every hour is closed and every item has its final outcome. */
  async settle(tx: Tx, subscriptionId: string): Promise<boolean> {
    const record = await this.lock(tx, subscriptionId);
    if (!record || record.state !== 'closing') return false;
    record.state = 'cancelled';
    record.updatedAt = this.clock.now();
    await tx.manager.save(SubscriptionRecord, record);
    await this.tasks.publish(tx, this.event('subscription.cancelled', record));
    return true;
  }

  async find(tx: Tx, subscriptionId: string): Promise<SubscriptionRecord | null> {
    return tx.manager.findOneBy(SubscriptionRecord, { subscriptionId });
  }

  async get(tx: Tx, subscriptionId: string): Promise<SubscriptionRecord> {
    const record = await this.find(tx, subscriptionId);
    if (!record) throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription, or it is not yours.');
    return record;
  }

  private lock(tx: Tx, subscriptionId: string): Promise<SubscriptionRecord | null> {
    return tx.manager.findOne(SubscriptionRecord, { where: { subscriptionId }, lock: { mode: 'pessimistic_write' } });
  }

  private async create(tx: Tx, id: string, truth: SubscriptionTruth, plan: PlanVersion): Promise<SubscriptionRecord> {
    const now = this.clock.now();
    await tx.query(
      `insert into subscriptions (subscription_id, marketplace, external_subscription_id, state, external_offer_id, external_plan_id, plan_version_id, quantity, activate_by, truth, created_at, updated_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) on conflict (subscription_id) do nothing`,
      [id, truth.marketplace, truth.externalSubscriptionId, truth.state === 'scheduled' ? 'scheduled' : 'pending_fulfillment', truth.externalOfferId, truth.externalPlanId,
        plan.planVersionId, truth.quantity, new Date(now.getTime() + 30 * DAY), JSON.stringify(truth), now],
    );
    return (await this.lock(tx, id))!;
  }

  private refresh(record: SubscriptionRecord, truth: SubscriptionTruth): void {
    record.name = truth.name;
    record.truth = truth;
    record.truthVersion = truth.version;
    record.marketplaceRefs = truth.refs;
    record.endsAt = truth.endsAt;
    record.buyerAccountId = truth.purchaser?.accountId ?? truth.beneficiary?.accountId ?? record.buyerAccountId;
  }

  private async linkAliases(tx: Tx, record: SubscriptionRecord, truth: SubscriptionTruth): Promise<void> {
    for (const alias of truth.aliases) {
      await tx.query(
        'insert into subscription_aliases (marketplace, kind, external_id, subscription_id) values ($1, $2, $3, $4) on conflict do nothing',
        [truth.marketplace, alias.kind, alias.externalId, record.subscriptionId],
      );
    }
  }

  private event(type: string, record: SubscriptionRecord): { type: string; lane: string; payload: { subscriptionId: string; tenantId: string | null } } {
    return { type, lane: subscriptionLane(record.subscriptionId), payload: { subscriptionId: record.subscriptionId, tenantId: record.tenantId } };
  }
}

const PAST: Record<SubscriptionAction, string> = {
  activate: 'subscription.activated', schedule: 'subscription.scheduled', suspend: 'subscription.suspended', reinstate: 'subscription.reinstated',
  end: 'subscription.ended', settle: 'subscription.cancelled', void: 'subscription.voided',
};
