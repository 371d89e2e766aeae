import { Inject, Injectable } from '@nestjs/common';
import {
  CALLS,
  CLOCK,
  DATABASE,
  INBOX,
  Pressure,
  TASKS,
  type Calls,
  type Clock,
  type Database,
  type Inbox,
  type ParkedTask,
  type Tasks,
  type Tx,
} from '#platform';
import { MARKETPLACE_REGISTRY, type MarketplaceRegistry } from '#marketplaces/core';
import { Audit, Tenants } from '#tenancy';
import { Catalog, Changes, Claims, Landings, Subscriptions } from '#entitlements';
import { ProvisioningEngine } from '#provisioning/engine';
import { Metering } from '#metering';

/** Milliseconds of business time for which an ended purchase's access waits for its successor. */
export const SUCCESSOR_HOLD_MS = Symbol('berth.successor-hold');

/** Days after the retention in which nobody decided on an export, after which its data goes all the same; null: never. */
export const EXPORT_GRACE_DAYS = Symbol('berth.export-grace');

/** What the flows across libs are made of. Each flow is one file beside this one. */
@Injectable()
export class ProcessContext {
  constructor(
    @Inject(DATABASE) readonly db: Database,
    @Inject(CLOCK) readonly clock: Clock,
    @Inject(TASKS) readonly tasks: Tasks,
    @Inject(INBOX) readonly inbox: Inbox,
    @Inject(CALLS) readonly calls: Calls,
    @Inject(MARKETPLACE_REGISTRY) readonly marketplaces: MarketplaceRegistry,
    @Inject(Tenants) readonly tenants: Tenants,
    @Inject(Audit) readonly audit: Audit,
    @Inject(Catalog) readonly catalog: Catalog,
    @Inject(Subscriptions) readonly subscriptions: Subscriptions,
    @Inject(Changes) readonly changes: Changes,
    @Inject(Landings) readonly landings: Landings,
    @Inject(ProvisioningEngine) readonly engine: ProvisioningEngine,
    @Inject(Metering) readonly metering: Metering,
    @Inject(SUCCESSOR_HOLD_MS) readonly successorHoldMs: number,
    @Inject(Pressure) readonly pressure: Pressure,
    @Inject(Claims) readonly claims: Claims,
    @Inject(EXPORT_GRACE_DAYS) readonly exportGraceDays: number | null = null,
  ) {}

  /** A parked lane is a finding: someone's purchase or bill stands still. */
  static async raiseParked(tx: Tx, metering: Metering, task: ParkedTask): Promise<void> {
    const subscriptionId = /^(?:subscription|change):([0-9a-f-]{36})(?::|$)/.exec(task.lane)?.[1] ?? null;
    await metering.raiseFinding(tx, {
      kind: 'lane_parked',
      dedupeKey: `lane_parked:${task.taskId}:${task.fence}`,
      subscriptionId,
      evidence: { taskId: task.taskId, lane: task.lane, handler: task.handler, error: task.error },
    });
  }
}
