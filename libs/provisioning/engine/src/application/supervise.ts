import { errorText, realNow } from '#platform';
import type { ClusterObservation } from '#provisioning/core';
import { loadCluster, updateCluster, type ClusterRow } from '../infra/rows.js';
import { enqueueReconcile, isBuilt, type EngineContext } from './context.js';
import { raiseGeneration } from './generation.js';
import { closePlan, expiredApprovals } from './plan-approval.js';
import { unacknowledged } from './placement-outcomes.js';
import { keepAsItWas } from './resize-cluster.js';
import type { StepLedger } from './step-ledger.js';
import { move } from './move.js';

/** Looks at what should be serving, and sends what is down to repair. It changes nothing outside itself. */
export class Supervisor {
  private nextAt = 0;

  constructor(
    private readonly ctx: EngineContext,
    private readonly ledger: StepLedger,
  ) {}

  /** Returns how many repairs it started. Called as often as one likes: between two looks it does nothing. */
  async look(force = false): Promise<number> {
    const now = realNow().getTime();
    if (!force && now < this.nextAt) return 0;
    this.nextAt = now + this.ctx.times.superviseMs;
    const clusters = await this.ctx.db.ops(async (tx) => {
      for (const clusterId of await expiredApprovals(this.ctx, tx)) await enqueueReconcile(this.ctx, tx, clusterId);
      return tx.query<ClusterRow>(`select * from clusters where phase in ('active', 'approval') order by cluster_id`);
    });
    const started = await Promise.all(clusters.map((c) => this.lookAt(c)));
    return started.filter(Boolean).length;
  }

  private async lookAt(seen: ClusterRow): Promise<boolean> {
    let observation: ClusterObservation;
    try {
      observation = await this.ledger.observeCluster(seen);
    } catch (error) {
      this.ctx.logger.warn({ cluster: seen.name, err: errorText(error) }, 'a cluster could not be observed');
      return false;
    }
    return this.ctx.db.ops(async (tx) => {
      const cluster = (await loadCluster(tx, seen.cluster_id, true))!;
      const { health, reasons, observedAt, observedGeneration, version, nodes, metering, exists } = observation;
      await updateCluster(
        tx,
        cluster.cluster_id,
        { observed: { health, reasons, observedAt, observedGeneration, version, nodes, metering, exists } },
        this.ctx.clock.now(),
      );
      const isDown = health === 'down' || !exists;
      // What waits for a decision and is down is repaired first, at the size it has.
      if (cluster.phase === 'approval' && cluster.recorded.resize && isDown) {
        await closePlan(tx, cluster, 'void');
        const detail = 'It went down while the plan waited, and is repaired first.';
        await keepAsItWas(this.ctx, tx, cluster, { class: 'conflict', code: 'cluster.down', detail, step: 'approval' }, 'unhealthy');
        return true;
      }
      // Between two changes only: while one is in work, what is seen may already be past.
      if (cluster.phase !== 'active' || cluster.generation !== cluster.observed_generation) return false;
      if (isDown) {
        this.ctx.logger.warn({ cluster: cluster.name, reasons }, 'a cluster is down; it is being repaired');
        await move(this.ctx, tx, cluster, 'unhealthy');
        await enqueueReconcile(this.ctx, tx, cluster.cluster_id);
        return true;
      }
      if (metering?.backlog === 0 && (await unacknowledged(tx, cluster.cluster_id)).length > 0)
        await enqueueReconcile(this.ctx, tx, cluster.cluster_id);
      return false;
    });
  }
}

/**
 * At start-up: cells outlive the control plane, and where and with which key they post usage may have changed meanwhile. Each
 * built cluster gets the full list once more; the driver finds the living cell and binds it again. `soleProcess`: no other
 * worker exists, so leases are a dead process's; the fencing token still rises.
 */
export async function adoptAll(ctx: EngineContext, soleProcess: boolean): Promise<number> {
  return ctx.db.ops(async (tx) => {
    if (soleProcess) await tx.query('update clusters set lease_until = null, fence = fence + 1 where lease_until is not null');
    const clusters = await tx.query<ClusterRow>('select * from clusters where deleted_at is null order by cluster_id for update');
    const built = clusters.filter(isBuilt);
    for (const cluster of built) {
      await raiseGeneration(tx, cluster, ctx.clock.now());
      await enqueueReconcile(ctx, tx, cluster.cluster_id);
    }
    return built.length;
  });
}
