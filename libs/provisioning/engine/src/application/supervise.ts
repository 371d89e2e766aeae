import { errorText, realNow, type Tx } from '#platform';
import type { ClusterObservation } from '#provisioning/core';
import { loadCluster, type ClusterRow } from '../infra/rows.js';
import { enqueueReconcile, isBuilt, type EngineContext } from './context.js';
import { raiseGeneration } from './generation.js';
import { closePlan, expiredApprovals } from './plan-approval.js';
import { awaitingSamples } from './placement-outcomes.js';
import { keepAsItWas } from './resize-cluster.js';
import type { StepLedger } from './step-ledger.js';
import { move } from './move.js';

/** Looks at once; the rest of a batch waits its turn. */
const SIDE_BY_SIDE = 50;

/** What a look needs to know of a cluster. */
type Seen = Pick<ClusterRow, 'cluster_id' | 'name' | 'driver' | 'phase' | 'generation' | 'fence'>;

/**
 * Looks at what should be serving, and sends what is down to repair. It changes nothing outside itself. One look is at one batch, in the
 * order of ids and round again: what a fleet costs at rest does not grow with it, only the time between two looks at one cluster does.
 */
export class Supervisor {
  private nextAt = 0;
  /** The last one that was looked at; null begins anew. */
  private after: string | null = null;

  constructor(
    private readonly ctx: EngineContext,
    private readonly ledger: StepLedger,
  ) {}

  /** Returns how many repairs it started. Called as often as one likes: between two looks it does nothing. */
  async look(force = false): Promise<number> {
    const now = realNow().getTime();
    if (!force && now < this.nextAt) return 0;
    this.nextAt = now + this.ctx.times.superviseMs;
    const batch = await this.batch();
    let started = 0;
    for (let i = 0; i < batch.length; i += SIDE_BY_SIDE) started += await this.lookAt(batch.slice(i, i + SIDE_BY_SIDE));
    return started;
  }

  private async batch(): Promise<Seen[]> {
    const most = this.ctx.times.superviseBatch;
    const batch = await this.ctx.db.ops(async (tx) => {
      for (const clusterId of await expiredApprovals(this.ctx, tx)) await enqueueReconcile(this.ctx, tx, clusterId);
      return tx.query<Seen>(
        `select cluster_id, name, driver, phase, generation, fence from clusters
          where phase in ('active', 'approval') and ($1::uuid is null or cluster_id > $1) order by cluster_id limit $2`,
        [this.after, most],
      );
    });
    if (batch.length === 0 && this.after !== null) {
      this.after = null;
      return this.batch();
    }
    this.after = batch.length < most ? null : batch.at(-1)!.cluster_id;
    return batch;
  }

  private async lookAt(clusters: readonly Seen[]): Promise<number> {
    const looks = await Promise.all(clusters.map(async (cluster) => ({ cluster, observation: await this.observe(cluster) })));
    const seen = looks.flatMap(({ cluster, observation }) => (observation ? [{ cluster, observation }] : []));
    if (seen.length === 0) return 0;
    await this.ctx.db.ops((tx) => this.note(tx, seen));
    let started = 0;
    for (const { cluster, observation } of seen)
      if (isDown(observation) && (await this.repair(cluster.cluster_id, observation))) started += 1;
    return started;
  }

  private async observe(cluster: Seen): Promise<ClusterObservation | undefined> {
    try {
      return await this.ledger.observeCluster(cluster);
    } catch (error) {
      this.ctx.logger.warn({ cluster: cluster.name, err: errorText(error) }, 'a cluster could not be observed');
      return undefined;
    }
  }

  /** What was seen, in one statement; a cluster whose row is being written is left out, and noted at its next look. */
  private async note(tx: Tx, seen: readonly { readonly cluster: Seen; readonly observation: ClusterObservation }[]): Promise<void> {
    const observed = seen.map(({ observation: { health, reasons, observedAt, observedGeneration, version, nodes, metering, exists } }) => ({
      ...{ health, reasons, observedAt, observedGeneration, version, nodes, metering, exists },
    }));
    await tx.query(
      `update clusters c set observed = v.observed, updated_at = $3
         from (select o.id, o.observed from unnest($1::uuid[], $2::jsonb[]) as o(id, observed)
                where o.id in (select cluster_id from clusters where cluster_id = any($1::uuid[]) for update skip locked)) v
        where c.cluster_id = v.id`,
      [seen.map((s) => s.cluster.cluster_id), observed.map((o) => JSON.stringify(o)), this.ctx.clock.now()],
    );
    // A last sample may have been taken in meanwhile: who waits for it looks again.
    const settled = seen.filter((s) => s.observation.metering?.backlog === 0).map((s) => s.cluster.cluster_id);
    for (const clusterId of await awaitingSamples(tx, settled)) await enqueueReconcile(this.ctx, tx, clusterId);
  }

  /** True when a repair begins. */
  private repair(clusterId: string, { reasons }: ClusterObservation): Promise<boolean> {
    return this.ctx.db.ops(async (tx) => {
      const cluster = (await loadCluster(tx, clusterId, true))!;
      // What waits for a decision and is down is repaired first, at the size it has.
      if (cluster.phase === 'approval' && cluster.recorded.resize) {
        await closePlan(tx, cluster, 'void');
        const detail = 'It went down while the plan waited, and is repaired first.';
        await keepAsItWas(this.ctx, tx, cluster, { class: 'conflict', code: 'cluster.down', detail, step: 'approval' }, 'unhealthy');
        return true;
      }
      // Between two changes only: while one is in work, what was seen may already be past.
      if (cluster.phase !== 'active' || cluster.generation !== cluster.observed_generation) return false;
      this.ctx.logger.warn({ cluster: cluster.name, reasons }, 'a cluster is down; it is being repaired');
      await move(this.ctx, tx, cluster, 'unhealthy');
      await enqueueReconcile(this.ctx, tx, clusterId);
      return true;
    });
  }
}

const isDown = ({ health, exists }: ClusterObservation): boolean => health === 'down' || !exists;

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
