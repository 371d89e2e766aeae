import { realNow, RunAgainAt, type Tx } from '#platform';
import type { EngineContext } from './context.js';
import { loadCluster, type ClusterRow } from '../infra/rows.js';

/** Another worker writes this cluster now; nothing of ours may be written any more. */
export class Fenced extends Error {
  constructor(clusterId: string) {
    super(`cluster ${clusterId} was taken over by another worker`);
  }
}

/** One writer per cluster (contract provisioning §4.3): a lease in real time, and a token that grows with each take-over. */
export class Lease {
  private constructor(
    private readonly ctx: EngineContext,
    readonly clusterId: string,
    readonly fence: number,
  ) {}

  static async take(ctx: EngineContext, clusterId: string): Promise<Lease> {
    const [row] = await ctx.db.ops((tx) =>
      tx.query<{ fence: string }>(
        `update clusters set fence = fence + 1, lease_until = $2 where cluster_id = $1 and (lease_until is null or lease_until < $3) returning fence`,
        [clusterId, Lease.until(ctx), realNow()],
      ),
    );
    if (!row) throw new RunAgainAt(new Date(ctx.clock.now().getTime() + 1_000), `another worker holds cluster ${clusterId}`);
    return new Lease(ctx, clusterId, Number(row.fence));
  }

  /**
   * A transaction of the lease's holder: the cluster's row is locked, the token compared, the lease renewed. Every write of
   * the reconciler goes through here, so that a worker that was overtaken changes nothing.
   */
  write<T>(work: (tx: Tx, cluster: ClusterRow) => Promise<T>): Promise<T> {
    return this.ctx.db.ops(async (tx) => {
      const cluster = await loadCluster(tx, this.clusterId, true);
      if (!cluster || Number(cluster.fence) !== this.fence) throw new Fenced(this.clusterId);
      await tx.query('update clusters set lease_until = $2 where cluster_id = $1', [this.clusterId, Lease.until(this.ctx)]);
      return work(tx, cluster);
    });
  }

  async release(): Promise<void> {
    await this.ctx.db.ops((tx) =>
      tx.query('update clusters set lease_until = null where cluster_id = $1 and fence = $2', [this.clusterId, this.fence]),
    );
  }

  private static until(ctx: EngineContext): Date {
    return new Date(realNow().getTime() + ctx.times.leaseMs);
  }
}
