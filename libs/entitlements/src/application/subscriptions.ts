import { ProblemError, uuidv5, type Clock, type Tasks, type Tx } from '#platform';
import type { FulfillmentEvent, Marketplace, SubscriptionTruth } from '#marketplaces/core';
import { actionTowards, EVENT_OF, isOver, nextState, SERVICE_CHECK } from '../domain/subscription-states.js';
import type { PlanVersion } from '../domain/plan-version.js';
import { SubscriptionRecord } from '../infra/subscription.record.js';
import { createRecord, lockRecord, refreshRecord } from '../infra/subscription-rows.js';
import { recordEvent } from '../infra/fulfillment-events.sql.js';
import { factChanges, isOlderView, notedOf, sameInstant, termDiffers } from '../domain/facts.js';
import { currentSegment } from '../infra/segments.sql.js';
import type { Catalog } from './catalog.js';
import { closeRequests, dropRequests } from './change-requests.js';
import { alignSegments, cutAt } from './cuts.js';
import { callFor, endOfDeleted } from './deletions.js';
import { endRights, grantRights } from './rights.js';
import { announceSuccession, linkAliases } from './aliases.js';
import { ancestorsOf, predecessorOf, successorOf, takeOver, type TakeOver, visitedAs } from './succession.js';

/** The lane of everything that concerns one purchase: fetch order is apply order. */
export const subscriptionLane = (subscriptionId: string): string => `subscription:${subscriptionId}`;

/** A purchase's id is made of its key, so racing webhook and landing meet in one row. */
export const subscriptionIdOf = (marketplace: Marketplace, externalSubscriptionId: string): string =>
  uuidv5('subscription', marketplace, externalSubscriptionId);

export type ApplyOutcome =
  | { result: 'applied'; subscriptionId: string; changes: string[] }
  | { result: 'unchanged'; subscriptionId: string | null; why: string }
  | { result: 'parked'; subscriptionId: string | null; code: 'unmapped_plan' | 'foreign_offer' | 'gone'; why: string };

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
    if (event.kind === 'change_dropped' && outcome.subscriptionId)
      await dropRequests(tx, {
        subscriptionId: outcome.subscriptionId,
        externalOperationId: event.change?.externalOperationId ?? null,
        now: this.clock.now(),
      });
    const told = outcome.result === 'applied' ? `applied: ${outcome.changes.join(', ')}` : `${outcome.result}: ${outcome.why}`;
    await recordEvent(tx, event, { inboxId, subscriptionId: outcome.subscriptionId, outcome: told, now: this.clock.now() });
    return outcome;
  }

  private async fold(tx: Tx, event: FulfillmentEvent): Promise<ApplyOutcome> {
    const id = subscriptionIdOf(event.marketplace, event.externalSubscriptionId);
    let record = await this.lock(tx, id);
    if (record?.erasedAt) return { result: 'unchanged', subscriptionId: id, why: 'the data of this purchase was deleted' };
    const truth = event.truth ?? (record && endOfDeleted(record, event));
    if (!truth && !record && event.kind === 'data_deletion_due')
      return { result: 'unchanged', subscriptionId: null, why: 'nothing is kept of this purchase' };
    if (!truth)
      return {
        result: 'parked',
        subscriptionId: record && id,
        code: 'gone',
        why: notedOf(event) ?? 'the marketplace does not know this purchase',
      };
    const plan = await this.catalog.latest(tx, truth.marketplace, truth.externalOfferId, truth.externalPlanId);
    if (!record && !plan) {
      return (await this.catalog.knowsOffer(tx, truth.marketplace, truth.externalOfferId))
        ? {
            result: 'parked',
            subscriptionId: null,
            code: 'unmapped_plan',
            why: `plan ${truth.externalPlanId} of ${truth.externalOfferId} is not in the catalog`,
          }
        : { result: 'parked', subscriptionId: null, code: 'foreign_offer', why: `offer ${truth.externalOfferId} is not ours to serve` };
    }
    const changes: string[] = [];
    if (!record) {
      const created = await createRecord(tx, id, truth, plan!, this.clock.now());
      record = created.record;
      if (created.fresh) changes.push('created');
    }
    if (isOlderView(record, truth)) {
      return { result: 'unchanged', subscriptionId: id, why: 'a newer view is applied already' };
    }
    const { successorExpected, supersedes: named, unconfirmed } = record.truth;
    const expected = successorExpected === true;
    const linked = await linkAliases(tx, record, truth);
    refreshRecord(record, truth);
    const unmapped = await this.advance(tx, record, event, truth, plan, changes);
    if (changes.length > 0) record.updatedAt = this.clock.now();
    await tx.manager.save(SubscriptionRecord, record);
    // It was over and access waited for a successor: now it is known that none comes.
    if (expected && !truth.successorExpected && record.state === 'closing' && !record.supersededBy)
      await this.tasks.publish(tx, this.event('subscription.ended', record));
    // The landing came first; what it booked was held until the marketplace said that the purchase is in force.
    if (unconfirmed && !truth.unconfirmed && record.tenantId && !isOver(record.state))
      await this.tasks.publish(tx, this.event('subscription.confirmed', record));
    await announceSuccession(tx, this.tasks, record, linked, named?.externalId !== truth.supersedes?.externalId);
    if (unmapped) {
      // Rights stay as they were; a person maps the plan. Guessing a default would bill or serve wrongly.
      const besides = changes.length > 0 ? `; applied: ${changes.join(', ')}` : '';
      return {
        result: 'parked',
        subscriptionId: id,
        code: 'unmapped_plan',
        why: `plan ${truth.externalPlanId} of ${truth.externalOfferId} is not in the catalog${besides}`,
      };
    }
    return changes.length > 0
      ? { result: 'applied', subscriptionId: id, changes }
      : { result: 'unchanged', subscriptionId: id, why: notedOf(event) ?? 'nothing new' };
  }

  /** Facts and state follow the truth, then one cut is made for both. Answers whether the plan could not be mapped. */
  private async advance(
    tx: Tx,
    record: SubscriptionRecord,
    event: FulfillmentEvent,
    truth: SubscriptionTruth,
    plan: PlanVersion | null,
    changes: string[],
  ): Promise<boolean> {
    const at = await cutAt(
      tx,
      record.subscriptionId,
      (event.kind === 'end_scheduled' ? undefined : event.effectiveAt) ?? event.occurredAt,
      this.clock.now(),
    );
    const followed = this.follow(record, truth, plan, changes);
    const moved = await this.move(tx, record, truth, at, changes);
    const cut = await alignSegments(tx, record, at, this.clock.now());
    if (isOver(record.state)) {
      if (moved.length > 0) await endRights(tx, record.subscriptionId, at);
    } else if (record.tenantId && (cut === 'first' || (followed.rights && cut))) {
      await grantRights(tx, record, await this.catalog.get(tx, record.planVersionId!), at);
    }
    moved.push(...callFor(event, truth, record, changes, this.clock.now()));
    for (const type of moved) await this.tasks.publish(tx, this.event(type, record));
    if (followed.renewed) await this.tasks.publish(tx, this.event('subscription.renewed', record));
    if (followed.rights) {
      await this.tasks.publish(tx, this.event('subscription.changed', record));
      await closeRequests(tx, record, at, this.clock.now());
    }
    if (moved.length > 0 || cut) record.lastOccurredAt = event.occurredAt;
    return followed.unmapped;
  }

  /** Moves the state towards the truth, step by step as the state table allows; the names of the events that tell of it. */
  private async move(tx: Tx, record: SubscriptionRecord, truth: SubscriptionTruth, at: Date, changes: string[]): Promise<string[]> {
    const events: string[] = [];
    for (let action = actionTowards(record.state, truth.state); action; action = actionTowards(record.state, truth.state)) {
      const to = nextState(record.state, action);
      // Held by a service check: the purchase itself was in force all the time.
      if (!to || (action === 'reinstate' && record.suspendedSource === SERVICE_CHECK)) break;
      const from = record.state;
      changes.push(`${from} → ${to}`);
      record.state = to;
      record.suspendedSource = to === 'suspended' ? 'marketplace' : null;
      record.suspendedAt = to === 'suspended' ? at : null;
      if (action === 'activate') record.acknowledgedAt ??= this.clock.now();
      // What waited for the day begins, also where the news of the start is that it serves already.
      if (action === 'activate' && from === 'scheduled' && record.tenantId) events.push(EVENT_OF.start);
      if (action === 'end') {
        record.endedAt = at;
        // Nothing was ever served or counted: there is nothing to settle.
        if (to === 'closing' && !(await currentSegment(tx, record.subscriptionId))) record.state = 'cancelled';
      }
      events.push(record.state === 'voided' ? EVENT_OF.void : EVENT_OF[action]);
    }
    // A suspended purchase gets its tenant when it is reinstated.
    if (record.state === 'active' && events.length > 0 && !record.tenantId) events.unshift('subscription.needs_tenant');
    return events;
  }

  /** Plan, quantity and term follow the truth; an ended purchase keeps those of its last segment. */
  private follow(
    record: SubscriptionRecord,
    truth: SubscriptionTruth,
    plan: PlanVersion | null,
    changes: string[],
  ): { rights: boolean; unmapped: boolean; renewed?: boolean } {
    if (isOver(record.state) || truth.state === 'ended' || truth.state === 'voided') return { rights: false, unmapped: false };
    const changed = factChanges(record, truth);
    if (changed.plan && !plan) return { rights: false, unmapped: true };
    if (changed.plan) {
      record.planVersionId = plan!.planVersionId;
      record.externalPlanId = truth.externalPlanId;
      changes.push(`plan ${truth.externalPlanId}`);
    }
    if (changed.quantity) {
      record.quantity = truth.quantity;
      changes.push(`quantity ${String(truth.quantity)}`);
    }
    const isNewTerm = truth.term.startsAt !== null && !sameInstant(record.termStartsAt, truth.term.startsAt);
    const renewed = isNewTerm && record.termStartsAt !== null;
    if (termDiffers(record, truth)) changes.push('term');
    record.termStartsAt = truth.term.startsAt ?? record.termStartsAt;
    record.termEndsAt = truth.term.endsAt ?? record.termEndsAt;
    record.termUnit = truth.term.unit ?? record.termUnit;
    return { rights: changed.plan || changed.quantity, unmapped: false, renewed };
  }

  /** Binds the purchase to its tenant; if it is active already, counting starts here (nothing was served before). */
  async bindTenant(tx: Tx, subscriptionId: string, tenantId: string): Promise<void> {
    const record = await this.lock(tx, subscriptionId);
    if (!record) throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription.');
    if (record.tenantId === tenantId) return;
    if (isOver(record.state))
      throw new ProblemError('conflict', 'subscription.over', 'This purchase has ended. It gets no tenant any more.');
    if (record.tenantId) throw new ProblemError('conflict', 'subscription.tenant_bound', 'This purchase belongs to a tenant already.');
    record.tenantId = tenantId;
    const now = this.clock.now();
    if ((await alignSegments(tx, record, now, now)) === 'first')
      await grantRights(tx, record, await this.catalog.get(tx, record.planVersionId!), now);
    record.updatedAt = this.clock.now();
    await tx.manager.save(SubscriptionRecord, record);
    await this.tasks.publish(tx, this.event('subscription.tenant_bound', record));
  }

  /** A licensed renewal takes the place of the purchase that it names (`succession.ts`). The caller moves placement and usage along. */
  takeOver(tx: Tx, successorId: string, notBefore: Date | null): Promise<TakeOver> {
    return takeOver(tx, { clock: this.clock, tasks: this.tasks }, successorId, notBefore);
  }

  /** The purchase that this one names as its predecessor; null where it names none, or none that is known. */
  predecessorOf(tx: Tx, subscriptionId: string): Promise<SubscriptionRecord | null> {
    return predecessorOf(tx, subscriptionId);
  }

  /** The chain of purchases whose place this one takes or took, the one that has it first; empty where none is known. */
  ancestorsOf(tx: Tx, subscriptionId: string): Promise<string[]> {
    return ancestorsOf(tx, subscriptionId);
  }

  /** The purchase that stands in this one's place now; itself where none does. */
  successorOf(tx: Tx, subscriptionId: string): Promise<string> {
    return successorOf(tx, subscriptionId);
  }

  /** Whose a visit of this purchase is: its own, its successor's, or that of the one which a renewal will take the place of. */
  visitedAs(tx: Tx, subscriptionId: string): Promise<string> {
    return visitedAs(tx, subscriptionId);
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

  /** Every purchase of a buyer's account, also those that are over. */
  ofBuyer(tx: Tx, marketplace: Marketplace, buyerAccountId: string): Promise<SubscriptionRecord[]> {
    return tx.manager.findBy(SubscriptionRecord, { marketplace, buyerAccountId });
  }

  async get(tx: Tx, subscriptionId: string): Promise<SubscriptionRecord> {
    const record = await this.find(tx, subscriptionId);
    if (!record) throw new ProblemError('not_found', 'subscription.not_found', 'There is no such subscription, or it is not yours.');
    return record;
  }

  /** With its row lock, for who decides on what it reads. */
  lock(tx: Tx, subscriptionId: string): Promise<SubscriptionRecord | null> {
    return lockRecord(tx, subscriptionId);
  }

  private event(
    type: string,
    record: SubscriptionRecord,
  ): { type: string; lane: string; payload: { subscriptionId: string; tenantId: string | null } } {
    return {
      type,
      lane: subscriptionLane(record.subscriptionId),
      payload: { subscriptionId: record.subscriptionId, tenantId: record.tenantId },
    };
  }
}
