import { RunAgainAt, type Tx } from '#platform';
import { DriverError, type DriverErrorShape, type PreflightReport } from '#provisioning/core';
import { BOOKED, type ClusterOperationKind } from '../domain/operation-kinds.js';
import { backoff } from '../domain/retry.js';
import { noteProgress, startOperation } from '../infra/operations.js';
import { loadCluster, updateCluster, type ClusterRow } from '../infra/rows.js';
import { concludeOperations } from './cluster-operations.js';
import { isBuilt, type EngineContext } from './context.js';
import { isHeld, limitOfPlan } from './build-gates.js';
import { isCancellation, stoppedBy, stopWanted } from './cancel-operation.js';
import { Fenced, KeptLeases, type Lease } from './lease.js';
import { move } from './move.js';
import { acknowledge, failPlacements, unacknowledged } from './placement-outcomes.js';
import { AtWork, Replan, StopForPerson } from './step.js';
import type { StepLedger } from './step-ledger.js';
import { deleteStep, sweepStep } from './retire-steps.js';
import { approvalOver, askForApproval, backToApproval, closePlan, followDecision, isDestructive } from './plan-approval.js';
import { keepAsItWas } from './resize-cluster.js';
import { applyStep, configureStep, planStep, preflightStep, validateStep } from './steps.js';
import { upgradeStep } from './upgrade-cluster.js';

/** Between two looks whether an operator has lifted the stop of creation. */
const HELD_MS = 30_000;
const MAX_REPLANS = 5;

/** Brings one cluster, with all its placements, to the desired state. Safe to run at any time and as often as one likes. */
export class Reconciler {
  private readonly leases: KeptLeases;

  constructor(
    private readonly ctx: EngineContext,
    private readonly ledger: StepLedger,
  ) {
    this.leases = new KeptLeases(ctx);
  }

  /** For a graceful end. */
  end(): Promise<void> {
    return this.leases.releaseAll();
  }

  async run(clusterId: string): Promise<void> {
    if (!(await this.hasWork(clusterId))) return;
    const lease = await this.leases.take(clusterId);
    let atWork = false;
    const until = performance.now() + this.ctx.times.runMs;
    try {
      while (await this.advance(lease)) if (performance.now() > until) throw this.later(0, 'other clusters get their turn');
    } catch (error) {
      atWork = error instanceof AtWork;
      if (error instanceof StopForPerson) return await this.fail(lease, error);
      if (error instanceof Fenced) throw this.later(1_000, error.message);
      if (error instanceof DriverError) throw this.later(2_000, error.code); // a look that failed parks no lane
      throw error;
    } finally {
      if (atWork) this.leases.keep(lease);
      else await lease.release();
    }
  }

  private hasWork(clusterId: string): Promise<boolean> {
    return this.ctx.db.ops(async (tx) => {
      const cluster = await loadCluster(tx, clusterId);
      if (!cluster || cluster.phase === 'failed' || cluster.phase === 'retired') return false;
      if (cluster.phase !== 'active' || cluster.generation !== cluster.observed_generation) return true;
      const open = await tx.query(
        `select 1 from operations where cluster_id = $1 and subject_kind = 'cluster' and state = 'running' and phase <> $2 limit 1`,
        [clusterId, BOOKED],
      );
      return open.length > 0 || (await unacknowledged(tx, clusterId)).length > 0;
    });
  }

  /** One move; false when the cluster is at rest. */
  private async advance(lease: Lease): Promise<boolean> {
    const cluster = (await this.ctx.db.ops((tx) => loadCluster(tx, lease.clusterId)))!;
    if (stopWanted(cluster) && !(await this.ledger.isAsked(cluster))) throw new StopForPerson(stoppedBy(cluster), cluster.phase);
    switch (cluster.phase) {
      case 'requested':
        if (await this.ctx.db.ops((tx) => isHeld(tx, lease.clusterId))) throw this.later(HELD_MS, 'provisioning.stopped');
        return this.begin(lease, 'create_cluster', 'The cluster is being built.');
      case 'degraded':
        return this.begin(lease, 'repair_cluster', 'The cluster is being repaired.');
      case 'preflight':
        return this.preflight(lease);
      case 'planned':
        await this.withinLimits(lease);
        return this.take(lease);
      case 'approval':
        return this.decided(lease);
      case 'provisioning':
        return this.apply(lease);
      case 'configuring':
        return this.configure(lease);
      case 'validating':
        return this.validate(lease, cluster);
      case 'active':
        return this.rest(lease, cluster);
      case 'upgrading':
        await this.ledger.run(lease, upgradeStep(this.ctx));
        return true;
      case 'retiring':
        return this.retire(lease);
      case 'failed':
      case 'retired':
        return false;
    }
  }

  private begin(lease: Lease, kind: ClusterOperationKind, message: string): Promise<boolean> {
    return lease.write(async (tx, cluster) => {
      const operationId = await this.operation(tx, cluster, kind, message);
      await move(this.ctx, tx, cluster, 'begin', { operationId, plan: null, unproved: 0, unchecked: 0, replans: 0, error: null });
      return true;
    });
  }

  private async preflight(lease: Lease): Promise<boolean> {
    const seen: { report?: PreflightReport } = {};
    await this.ledger.run(lease, { ...preflightStep(this.ctx), record: (report) => (seen.report = report) });
    const { report } = seen;
    if (report && !report.ok) {
      const failed = report.checks.filter((c) => c.result === 'fail');
      if (failed.length > 0)
        this.stop('validation', 'preflight.failed', failed.map((c) => `${c.name}: ${c.detail}`).join(' '), 'preflight');
      const { recorded } = (await this.ctx.db.ops((tx) => loadCluster(tx, lease.clusterId)))!;
      if ((recorded.unchecked ?? 0) >= this.ctx.retry.attempts)
        this.stop('unknown', 'preflight.unknown', 'The checks could not be judged.', 'preflight');
      throw this.later(backoff(recorded.unchecked ?? 0, this.ctx.retry, Math.random()), 'preflight.unknown');
    }
    await this.ledger.run(lease, planStep(this.ctx));
    return true;
  }

  private async withinLimits(lease: Lease): Promise<void> {
    const over = await this.ctx.db.ops((tx) => limitOfPlan(tx, lease.clusterId));
    if (over) this.stop('quota', over.code, over.detail, 'plan');
  }

  /** Exactly the stored plan is executed. One that would lose data waits for a person. */
  private async take(lease: Lease): Promise<boolean> {
    const lost = await lease.write(async (tx, cluster) => {
      const { plan } = cluster.recorded;
      if (!plan) throw new Error(`cluster ${cluster.name} is planned without a plan`);
      // "Not found" is not believed (contract provisioning §3.4): an empty cluster in the old one's place would hide the loss.
      const grows = cluster.recorded.resize ? Math.max(0, cluster.desired.nodes - cluster.recorded.resize.from.nodes) : 0;
      if (isBuilt(cluster) && plan.create > grows) return true;
      if (isDestructive(plan)) await askForApproval(this.ctx, tx, cluster, plan);
      else if (plan.create + plan.update + plan.replace + plan.delete === 0)
        await move(this.ctx, tx, cluster, 'unchanged', { plan: null, stateSerial: plan.stateSerial, validated: false, resize: undefined });
      else await move(this.ctx, tx, cluster, 'apply');
      return false;
    });
    if (lost) this.stop('permission', 'cluster.lost', 'The driver does not find what was built. Restore or import it.', 'plan');
    return true;
  }

  private async decided(lease: Lease): Promise<boolean> {
    const next = await lease.write(async (tx, cluster) => {
      const follows = await followDecision(this.ctx, tx, cluster);
      if (follows === 'serve') {
        const operationId = await this.operation(tx, cluster, 'configure_cluster', 'The cluster is being configured.');
        await move(this.ctx, tx, cluster, 'reconfigure', { operationId, unproved: 0, error: null });
      }
      return follows;
    });
    if (typeof next === 'object') this.stop(next.class, next.code, next.detail, 'approval');
    return next !== 'rest';
  }

  private async apply(lease: Lease): Promise<boolean> {
    try {
      await this.ledger.run(lease, applyStep(this.ctx));
    } catch (error) {
      if (!(error instanceof Replan)) throw error;
      const replans = await lease.write(async (tx, cluster) => {
        const count = (cluster.recorded.replans ?? 0) + 1;
        if (count > MAX_REPLANS) return count;
        await closePlan(tx, cluster, 'stale');
        await move(this.ctx, tx, cluster, 'replan', { ...approvalOver, plan: null, replans: count });
        return count;
      });
      if (replans > MAX_REPLANS) this.stop('conflict', error.message, 'The state changed under every plan that was made.', 'apply');
    }
    return true;
  }

  private async configure(lease: Lease): Promise<boolean> {
    await lease.write(async (tx, cluster) => {
      if (cluster.recorded.operationId) return; // a failed cluster that is tried again has none yet
      const operationId = await this.operation(tx, cluster, 'configure_cluster', 'The cluster is being configured.');
      await updateCluster(tx, cluster.cluster_id, { recorded: { ...cluster.recorded, operationId } }, this.ctx.clock.now());
    });
    await this.ledger.run(lease, configureStep(this.ctx));
    return true;
  }

  private async validate(lease: Lease, cluster: ClusterRow): Promise<boolean> {
    if (BigInt(cluster.generation) > BigInt(cluster.observed_generation)) {
      // A suspension does not wait until another placement's proof succeeds.
      await lease.write((tx, row) => move(this.ctx, tx, row, 'reconfigure'));
      return true;
    }
    await this.ledger.run(lease, validateStep(this.ctx));
    const after = (await this.ctx.db.ops((tx) => loadCluster(tx, lease.clusterId)))!;
    if (after.phase !== 'validating') return true;
    const unproved = after.recorded.unproved ?? 0;
    if (unproved >= this.ctx.retry.attempts) this.stop('unknown', 'validate.not_proved', 'The data path could not be proved.', 'validate');
    throw this.later(backoff(unproved, this.ctx.retry, Math.random()), 'validate.not_proved');
  }

  /** Down, and then looked for: what a driver no longer finds may still be there, and cost (contract provisioning §3.4). */
  private async retire(lease: Lease): Promise<boolean> {
    await lease.write(async (tx, cluster) => {
      if (cluster.recorded.operationId) return; // one that failed and is tried again has none yet
      const operationId = await this.operation(tx, cluster, 'retire_cluster', 'The cluster is being taken down.');
      await updateCluster(tx, cluster.cluster_id, { recorded: { ...cluster.recorded, operationId } }, this.ctx.clock.now());
    });
    await this.ledger.run(lease, deleteStep(this.ctx));
    await this.ledger.run(lease, sweepStep(this.ctx));
    const { phase, recorded } = (await this.ctx.db.ops((tx) => loadCluster(tx, lease.clusterId)))!;
    if (phase === 'retired') return false;
    const left = (recorded.survivors ?? []).join(', ');
    if ((recorded.sweeps ?? 0) >= this.ctx.retry.attempts) this.stop('unknown', 'cluster.survivors', `It still finds ${left}.`, 'sweep');
    throw this.later(backoff(recorded.sweeps ?? 0, this.ctx.retry, Math.random()), `still there: ${left}`);
  }

  private async rest(lease: Lease, cluster: ClusterRow): Promise<boolean> {
    if (BigInt(cluster.generation) > BigInt(cluster.observed_generation)) {
      await lease.write(async (tx, row) => {
        await concludeOperations(this.ctx, tx, row.cluster_id);
        const operationId = await this.operation(tx, row, 'configure_cluster', 'The cluster is being configured.');
        await move(this.ctx, tx, row, 'reconfigure', { operationId, unproved: 0, error: null });
      });
      return true;
    }
    await lease.write((tx, row) => concludeOperations(this.ctx, tx, row.cluster_id));
    const waiting = await this.ctx.db.ops((tx) => unacknowledged(tx, cluster.cluster_id));
    if (waiting.length === 0) return false;
    const observation = await this.ledger.observeCluster({ ...cluster, fence: String(lease.fence) });
    const awaited = await lease.write(async (tx, row) => {
      await noteProgress(tx, this.ctx.clock.now(), row.cluster_id, { phase: row.phase, awaited: 'the acknowledgement of the last sample' });
      return acknowledge(this.ctx, tx, row, observation);
    });
    if (awaited > 0) throw this.later(this.ctx.times.acknowledgePollMs, 'the last sample is not acknowledged yet');
    return false;
  }

  /** A new operation that owns the ledger from here on. */
  private async operation(tx: Tx, cluster: ClusterRow, kind: ClusterOperationKind, message: string): Promise<string> {
    return startOperation(tx, this.ctx.clock.now(), kind, { clusterId: cluster.cluster_id, generation: cluster.generation }, message);
  }

  private async fail(lease: Lease, stop: StopForPerson): Promise<void> {
    const error = { ...stop.error, step: stop.step };
    if (isCancellation(error)) this.ctx.logger.info({ cluster: lease.clusterId, ...error }, 'an operation was stopped');
    else this.ctx.logger.error({ cluster: lease.clusterId, ...error }, 'provisioning stopped; a person is needed');
    await lease.write(async (tx, row) => {
      await this.ledger.abandon(tx, row, error);
      const cluster = { ...row, recorded: { ...row.recorded, cancel: undefined } };
      const { approval, resize, upgrade } = cluster.recorded;
      // A wish that came while a plan waited did not succeed: that plan goes on waiting.
      if (approval && (cluster.phase === 'configuring' || cluster.phase === 'validating')) {
        await failPlacements(this.ctx, tx, cluster, error);
        return backToApproval(this.ctx, tx, cluster, { error });
      }
      await closePlan(tx, cluster, 'void');
      const decided = { ...cluster, recorded: { ...cluster.recorded, ...approvalOver } };
      if (resize || upgrade) return keepAsItWas(this.ctx, tx, decided, error);
      await failPlacements(this.ctx, tx, decided, error);
      await move(this.ctx, tx, decided, 'fail', { error });
    });
  }

  private stop(errorClass: DriverErrorShape['class'], code: string, detail: string, step: string): never {
    throw new StopForPerson({ class: errorClass, code, detail }, step);
  }

  private later(ms: number, reason: string): RunAgainAt {
    return new RunAgainAt(new Date(this.ctx.clock.now().getTime() + ms), reason);
  }
}
