import { ProblemError, type Clock, type Database, type Logger, type Sealer, type Tasks, type Tx } from '#platform';
import type { ProvisioningDriver } from '#provisioning/core';
import type { PlacementPolicy } from '../domain/placement-choice.js';
import type { RetryLimits, StepName } from '../domain/retry.js';
import type { ClusterRow, PlacementRow } from '../infra/rows.js';

/** The task that brings a cluster to its desired state; lane `cluster:<id>`, payload `{clusterId}`. */
export const RECONCILE = 'engine.reconcile';

export type ProvisioningEventType =
  | 'placement.active'
  | 'placement.suspended'
  | 'placement.resumed'
  | 'placement.access_ended'
  | 'placement.export_closed'
  | 'placement.limits_changed'
  | 'placement.failed'
  | 'placement.purged';

/** All in real milliseconds. */
export interface EngineTimes {
  /** How long a run waits in place for a driver before it gives the worker back. */
  readonly patienceMs: number;
  /** A run gives its worker back after this and goes on in the next one; shorter than a task's lease. */
  readonly runMs: number;
  /** One driver call without an answer is an unknown outcome after this. */
  readonly callTimeoutMs: number;
  /** One step (all its polls) before it is cancelled and a person is asked; for what a driver's `timeoutsMs` leave out. */
  readonly stepTimeoutMs: number;
  /** A lease; longer than one call. Each fenced write renews it. */
  readonly leaseMs: number;
  /** Between two looks of the supervisor. */
  readonly superviseMs: number;
  /** Clusters that one look goes through; a larger fleet takes several looks. With 500, 10,000 are seen once in 100 s. */
  readonly clustersPerLook: number;
  /** Between two looks for the acknowledgement of a last sample. */
  readonly acknowledgePollMs: number;
  /** Business time after which an unacknowledged last sample is handed on as it is. */
  readonly acknowledgeWithinMs: number;
}

export const DEFAULT_TIMES: EngineTimes = {
  patienceMs: 2_000,
  runMs: 45_000,
  callTimeoutMs: 30_000,
  stepTimeoutMs: 15 * 60_000,
  leaseMs: 60_000,
  superviseMs: 5_000,
  clustersPerLook: 500,
  acknowledgePollMs: 2_000,
  acknowledgeWithinMs: 3_600_000,
};

export const DEFAULT_RETRY: RetryLimits = { attempts: 20, baseDelayMs: 500, maxDelayMs: 30_000 };

export interface EngineContext {
  readonly db: Database;
  readonly tasks: Tasks;
  readonly clock: Clock;
  readonly sealer: Sealer;
  /** By `capabilities().driver`. */
  readonly drivers: ReadonlyMap<string, ProvisioningDriver>;
  readonly logger: Logger;
  /** Makes the key with which a cluster posts its usage; called once per cluster, in the transaction that creates it. */
  readonly issueCellKey: (tx: Tx, clusterId: string) => Promise<string>;
  /** Takes that key back when the cluster is gone, in the transaction that says so. */
  readonly withdrawCellKey?: (tx: Tx, clusterId: string) => Promise<void>;
  /** Where clusters post their usage; null while nothing listens. */
  readonly ingestUrl: () => string | null;
  readonly policy: PlacementPolicy;
  readonly times: EngineTimes;
  readonly retry: RetryLimits;
}

export function driverOf(ctx: EngineContext, name: string): ProvisioningDriver {
  const driver = ctx.drivers.get(name);
  if (!driver) throw new Error(`no driver is called ${name}`);
  return driver;
}

/** Real milliseconds that a step of this driver may take: its own word, else the default. */
export function stepTimeoutOf(ctx: EngineContext, driver: ProvisioningDriver, step: StepName): number {
  return driver.capabilities().timeoutsMs?.[step] ?? ctx.times.stepTimeoutMs;
}

export async function enqueueReconcile(ctx: EngineContext, tx: Tx, clusterId: string): Promise<void> {
  await ctx.tasks.enqueue(tx, { lane: `cluster:${clusterId}`, handler: RECONCILE, payload: { clusterId } });
}

/** In the transaction of the state it tells of. */
export async function publish(
  ctx: EngineContext,
  tx: Tx,
  type: ProvisioningEventType,
  p: Pick<PlacementRow, 'placement_id' | 'subscription_id' | 'tenant_id' | 'cluster_id'>,
): Promise<void> {
  ctx.logger.info({ event: type, placement: p.placement_id, subscription: p.subscription_id, tenant: p.tenant_id }, 'placement changed');
  await ctx.tasks.publish(tx, {
    type,
    lane: `subscription:${p.subscription_id}`,
    payload: { placementId: p.placement_id, subscriptionId: p.subscription_id, tenantId: p.tenant_id, clusterId: p.cluster_id },
  });
}

export const credentialPurpose = (placementId: string, keyId: string): string => `placement-key/${placementId}/${keyId}`;
export const cellKeyPurpose = (clusterId: string): string => `cell-key/${clusterId}`;
export const stepPurpose = (stepId: string): string => `step-intent/${stepId}`;

/** True once a build has ended: then there is something to configure. */
export const isBuilt = (c: ClusterRow): boolean => c.recorded.stateSerial !== undefined;

export const placementUnknown = (id: string): ProblemError =>
  new ProblemError('not_found', 'placement.unknown', `There is no placement ${id}.`);
