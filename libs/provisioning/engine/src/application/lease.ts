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
    // At random: at an even pace the one who waits could be there first each time, and the holder never get its turn.
    const wait = 500 + Math.round(Math.random() * 1_000);
    if (!row) throw new RunAgainAt(new Date(ctx.clock.now().getTime() + wait), `another worker holds cluster ${clusterId}`);
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

  /** False: it was taken over. */
  async renew(): Promise<boolean> {
    const rows = await this.ctx.db.ops((tx) =>
      tx.query('update clusters set lease_until = $2 where cluster_id = $1 and fence = $3 returning 1', [
        this.clusterId,
        Lease.until(this.ctx),
        this.fence,
      ]),
    );
    return rows.length > 0;
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

/**
 * Leases that this process keeps between two runs, because a driver is at work in it: another worker would have to begin the same work
 * anew, and end this one's. Renewed every third of their time (contract provisioning §4.3); a process that dies renews nothing.
 */
export class KeptLeases {
  private readonly kept = new Map<string, { readonly lease: Lease; readonly timer: NodeJS.Timeout }>();

  constructor(private readonly ctx: EngineContext) {}

  /** The one that was kept, or a new one. */
  async take(clusterId: string): Promise<Lease> {
    const kept = this.drop(clusterId);
    return kept && (await kept.renew()) ? kept : Lease.take(this.ctx, clusterId);
  }

  keep(lease: Lease): void {
    this.drop(lease.clusterId);
    const renew = (): void =>
      void lease.renew().then(
        (mine) => mine || this.drop(lease.clusterId),
        () => undefined,
      );
    this.kept.set(lease.clusterId, { lease, timer: setInterval(renew, this.ctx.times.leaseMs / 3).unref() });
  }

  /** For a graceful end: others need not wait until they run out. */
  async releaseAll(): Promise<void> {
    for (const clusterId of [...this.kept.keys()]) await this.drop(clusterId)?.release();
  }

  private drop(clusterId: string): Lease | undefined {
    const kept = this.kept.get(clusterId);
    clearInterval(kept?.timer);
    this.kept.delete(clusterId);
    return kept?.lease;
  }
}
