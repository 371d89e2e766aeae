import type { Clock, Database, Logger, ProblemError, Sealer, TaskRunner, Tasks, Tx } from '#platform';
import type { ProvisioningDriver } from '#provisioning/core';
import { DEFAULT_PLACEMENT_POLICY, type PlacementPolicy } from '../domain/placement-choice.js';
import type { BuildLimits } from '../domain/build-limits.js';
import type { DataLook, ExportState } from '../domain/export-check.js';
import type { RetryLimits } from '../domain/retry.js';
import { cancelOperation, type Cancellation } from './cancel-operation.js';
import * as change from './change-placement.js';
import { cellKeyPurpose, DEFAULT_RETRY, DEFAULT_TIMES, RECONCILE, type EngineContext, type EngineTimes } from './context.js';
import * as plans from './plan-approval.js';
import * as booking from './book-upgrade.js';
import * as limits from './build-limits.js';
import * as exports from './export-check.js';
import { CONFORMANCE, requestConformanceRun, runConformance } from './conformance-runs.js';
import { listRunsOf, loadRun, type ConformanceRunRow } from '../infra/conformance-rows.js';
import * as ready from './readiness.js';
import { listDecisions, listShapes, readSwitch, type DecisionRow, type ShapeRow, type SwitchRow } from '../infra/readiness-rows.js';
import { roomOfPlacement, type PlacementRoom } from './placement-room.js';
import { progress } from './progress.js';
import * as read from './read-models.js';
import * as operations from './read-operations.js';
import { Reconciler } from './reconcile-cluster.js';
import { resizeCluster, type Resize } from './resize-cluster.js';
import * as retire from './retire-cluster.js';
import { requestPlacement, type PlacementRequest } from './request-placement.js';
import { StepLedger } from './step-ledger.js';
import { adoptAll, Supervisor } from './supervise.js';
import { upgradeCluster, type Upgrade } from './upgrade-cluster.js';
import { takeInventory, type Inventory } from './take-inventory.js';

export interface ProvisioningEngineOptions {
  readonly db: Database;
  readonly tasks: Tasks;
  readonly clock: Clock;
  readonly sealer: Sealer;
  /** By the name in `capabilities().driver`. The first that offers a shape in a region gets its clusters. */
  readonly drivers: Map<string, ProvisioningDriver>;
  readonly logger: Logger;
  /** Makes a cell key; called once per cluster, in the transaction that creates it. */
  readonly issueCellKey: (tx: Tx, clusterId: string) => Promise<string>;
  /** Takes it back when the cluster is gone, in the transaction that says so. */
  readonly withdrawCellKey?: (tx: Tx, clusterId: string) => Promise<void>;
  /** Where clusters post their usage; null while nothing listens. */
  readonly ingestUrl: () => string | null;
  readonly placementPolicy?: Partial<PlacementPolicy>;
  readonly times?: Partial<EngineTimes>;
  readonly retry?: Partial<RetryLimits>;
}

/**
 * Clusters and placements: wishes in, facts and events out. Wishes are written in the caller's transaction (role `ops`) and
 * never call a driver; the reconciler does, from its task.
 */
export class ProvisioningEngine {
  private readonly ctx: EngineContext;
  private readonly reconciler: Reconciler;
  private readonly supervisor: Supervisor;
  private readonly ledger: StepLedger;

  constructor(options: ProvisioningEngineOptions) {
    this.ctx = {
      ...options,
      policy: { ...DEFAULT_PLACEMENT_POLICY, ...options.placementPolicy },
      times: { ...DEFAULT_TIMES, ...options.times },
      retry: { ...DEFAULT_RETRY, ...options.retry },
    };
    this.ledger = new StepLedger(this.ctx);
    this.reconciler = new Reconciler(this.ctx, this.ledger);
    this.supervisor = new Supervisor(this.ctx, this.ledger);
  }

  // Wishes.
  requestPlacement = (tx: Tx, request: PlacementRequest): Promise<{ placementId: string; operationId: string }> =>
    requestPlacement(this.ctx, tx, request);
  setLimits = (tx: Tx, placementId: string, wanted: { hardQuotaBytes: bigint | null }): Promise<change.Wish> =>
    change.setLimits(this.ctx, tx, placementId, wanted);
  setBuildLimits = (tx: Tx, placementId: string, ofPlan: BuildLimits | null): Promise<void> =>
    change.setBuildLimits(tx, placementId, ofPlan);
  suspend = (tx: Tx, placementId: string, why: { reason: string; at: Date }): Promise<change.Wish> =>
    change.suspend(this.ctx, tx, placementId, why);
  resume = (tx: Tx, placementId: string): Promise<change.Wish> => change.resume(this.ctx, tx, placementId);
  endAccess = (tx: Tx, placementId: string, end: { at: Date }): Promise<change.Wish> => change.endAccess(this.ctx, tx, placementId, end);
  transferPlacement = (tx: Tx, placementId: string, toSubscriptionId: string): Promise<void> =>
    change.transferPlacement(this.ctx, tx, placementId, toSubscriptionId);
  purge = (tx: Tx, placementId: string): Promise<change.Wish> => change.purge(this.ctx, tx, placementId);
  /** Writes down what `lookForData` saw, before anything is deleted. */
  noteExportLook = (tx: Tx, placementId: string, look: DataLook, holdUntil: Date): Promise<{ readonly state: ExportState }> =>
    exports.noteLook(this.ctx, tx, placementId, look, holdUntil);
  /** Somebody's word that the data was taken along or is not wanted; without one `purge` is refused. */
  decideExport = (tx: Tx, placementId: string, decision: exports.ExportDecision): Promise<void> =>
    exports.decideExport(this.ctx, tx, placementId, decision);
  /** Kept data can be read once more for a while. */
  openExport = (tx: Tx, placementId: string, window: { until: Date; by: string; reason: string }): Promise<change.Wish> =>
    exports.openExport(this.ctx, tx, placementId, window);
  closeExport = (tx: Tx, placementId: string): Promise<change.Wish> => exports.close(this.ctx, tx, placementId);
  rotateKey = (tx: Tx, placementId: string): Promise<change.Wish & { readonly keyId: string }> =>
    change.rotateKey(this.ctx, tx, placementId);
  /** For an operator who has removed the cause of a failure. */
  retryOperation = (tx: Tx, operationId: string): Promise<void> => change.retryOperation(this.ctx, tx, operationId);

  /** Cooperative; what is done is not undone. */
  cancelOperation = (tx: Tx, operationId: string, wish: Cancellation): Promise<void> => cancelOperation(this.ctx, tx, operationId, wish);

  /** No more placements go there; those that are there stay. */
  cordonCluster = (tx: Tx, clusterId: string): Promise<void> => retire.cordonCluster(this.ctx, tx, clusterId);
  uncordonCluster = (tx: Tx, clusterId: string): Promise<void> => retire.uncordonCluster(this.ctx, tx, clusterId);
  /** Another shape, number of nodes or capacity, while it serves; where it would lose data a person decides. */
  resizeCluster = (tx: Tx, clusterId: string, wish: Resize): Promise<change.Wish> => resizeCluster(this.ctx, tx, clusterId, wish);
  /** Another version of its software, while it serves: one cluster of a driver and region at a time. */
  upgradeCluster = (tx: Tx, clusterId: string, wish: Upgrade): Promise<change.Wish> => upgradeCluster(this.ctx, tx, clusterId, wish);
  /** Another version in a maintenance window to come. */
  bookUpgrade = (tx: Tx, clusterId: string, wish: Upgrade, window: booking.Window): Promise<change.Wish> =>
    booking.bookUpgrade(this.ctx, tx, clusterId, wish, window);
  /** A person's word on a plan that destroys data. */
  decidePlan = (tx: Tx, clusterId: string, hash: string, decision: plans.PlanDecision): Promise<plans.PlanView> =>
    plans.decidePlan(this.ctx, tx, clusterId, hash, decision);
  /** Takes an empty cluster down for good; `confirm` is its name once more. */
  retireCluster = (tx: Tx, clusterId: string, wish: retire.Retirement): Promise<change.Wish> =>
    retire.retireCluster(this.ctx, tx, clusterId, wish);

  /** An operator's word on how much may be built for one purchase; null takes it back. */
  overrideLimits = (tx: Tx, wish: Parameters<typeof limits.overrideLimits>[2]): Promise<void> => limits.overrideLimits(this.ctx, tx, wish);
  readLimits = limits.readLimits;

  /** Has the endpoint of a placement judged by the Blob suite, in the background. */
  requestConformanceRun = (tx: Tx, placementId: string, requestedBy: string): Promise<{ readonly runId: string }> =>
    requestConformanceRun(this.ctx, tx, placementId, requestedBy);

  /** Gates of a plan at a marketplace and in a region, with reasons. */
  judgeReadiness = (tx: Tx, wish: ready.PlanWish): Promise<ready.Readiness> => ready.judgeReadiness(this.ctx, tx, wish);
  /** The typed refusal of a plan that may not be sold, changed to or built; null: it may. */
  readinessRefusal = (tx: Tx, wish: ready.PlanWish): Promise<ProblemError | null> => ready.refusalOf(this.ctx, tx, wish);
  decideGate = (tx: Tx, decision: ready.Decision): Promise<DecisionRow> => ready.decideGate(this.ctx, tx, decision);
  decideShape = (tx: Tx, shape: Omit<ShapeRow, 'decided_at'>): Promise<ShapeRow> => ready.decideShape(this.ctx, tx, shape);
  stopCreating = (tx: Tx, wish: { on: boolean; reason: string; by: string }): Promise<SwitchRow> => ready.stopCreating(this.ctx, tx, wish);

  // Work.
  beginBooked(clusterId: string, operationId: string): Promise<void> {
    return booking.beginBooked(this.ctx, clusterId, operationId);
  }

  closeExportDue(placementId: string): Promise<void> {
    return exports.closeExportDue(this.ctx, placementId);
  }

  /** What is stored for a placement now, by its driver's word. */
  lookForData(placementId: string): Promise<DataLook> {
    return exports.lookForData(this.ctx, this.ledger, placementId);
  }

  runConformance(runId: string): Promise<void> {
    return runConformance(this.ctx, runId);
  }

  reconcile(clusterId: string): Promise<void> {
    return this.reconciler.run(clusterId);
  }

  /** After the task runner has stopped: other workers may go on at once with what was at work here. */
  stop(): Promise<void> {
    return this.reconciler.end();
  }

  /** For a clock of the task runner: cheap between two looks. `force` looks now. Answers the number of repairs started. */
  supervise(options: { force?: boolean } = {}): Promise<number> {
    return this.supervisor.look(options.force);
  }

  /** What the drivers say is there, all of it; changes nothing. */
  takeInventory(): Promise<Inventory> {
    return takeInventory(this.ctx, this.ledger);
  }

  /** At start-up, before the runner starts. Answers the number of clusters that are bound again. */
  adoptAll(options: { soleProcess?: boolean } = {}): Promise<number> {
    return adoptAll(this.ctx, options.soleProcess ?? false);
  }

  /** Where and with which key this cluster posts its usage; for drivers, which know a cluster by its name. Null: it does not. */
  async usageTarget(clusterRef: string): Promise<{ url: string; key: string } | null> {
    const url = this.ctx.ingestUrl();
    const [row] = await this.ctx.db.ops((tx) =>
      tx.query<{ cluster_id: string; cell_key_sealed: string | null }>('select cluster_id, cell_key_sealed from clusters where name = $1', [
        clusterRef,
      ]),
    );
    if (!url || !row?.cell_key_sealed) return null;
    return { url, key: this.ctx.sealer.open(row.cell_key_sealed, cellKeyPurpose(row.cluster_id)) };
  }

  /** Hours from an order to the hand-over, where people build; null: machines do. */
  leadHoursOf(driver: string): number | null {
    return this.ctx.drivers.get(driver)?.capabilities().leadHours ?? null;
  }

  /** How much could be set aside for a placement where it is. */
  roomOfPlacement = (tx: Tx, placementId: string): Promise<PlacementRoom> => roomOfPlacement(this.ctx, tx, placementId);

  // Read models.
  listClusters = read.listClusters;
  getCluster = read.getCluster;
  listPlans = plans.listPlans;
  listPlacements = read.listPlacements;
  getPlacement = read.getPlacement;
  placementOfSubscription = read.placementOfSubscription;
  listOperations = operations.listOperations;
  getOperation = operations.getOperation;
  listSteps = operations.listSteps;
  listGateDecisions = listDecisions;
  listShapes = listShapes;
  readStop = (tx: Tx): Promise<SwitchRow | null> => readSwitch(tx, 'stop_creating');
  listConformanceRuns = listRunsOf;
  getConformanceRun = (tx: Tx, runId: string): Promise<ConformanceRunRow> => loadRun(tx, runId);
  progress = progress;
  credentials = (tx: Tx, placementId: string): Promise<read.Credentials> => read.credentials(this.ctx, tx, placementId);
}

export function registerProvisioningHandlers(runner: TaskRunner, engine: ProvisioningEngine): void {
  runner.register(booking.BEGIN_BOOKED, (payload) => engine.beginBooked(String(payload['clusterId']), String(payload['operationId'])));
  runner.register(exports.CLOSE_EXPORT, (payload) => engine.closeExportDue(String(payload['placementId'])));
  runner.register(CONFORMANCE, (payload) => engine.runConformance(String(payload['runId'])));
  runner.register(RECONCILE, (payload) => engine.reconcile(String(payload['clusterId'])));
}
