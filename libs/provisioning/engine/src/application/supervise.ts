import { errorText, realNow, type Tx } from '#platform';
import type { ClusterObservation } from '#provisioning/core';
import { loadCluster, type ClusterRow } from '../infra/rows.js';
import { enqueueReconcile, isBuilt, type EngineContext } from './context.js';
import { raiseGeneration } from './generation.js';
import { closePlan, expiredApprovals } from './plan-approval.js';
import { unacknowledgedAmong } from './placement-outcomes.js';
import { keepAsItWas } from './resize-cluster.js';
import type { StepLedger } from './step-ledger.js';
import { move } from './move.js';

/** Asked at the same time; one that does not answer holds up one of these until its time-out. */
const ASKED_AT_ONCE = 16;

interface Seen {
  readonly cluster: ClusterRow;
  readonly observation: ClusterObservation;
}

/** Looks at what should be serving, and sends what is down to repair. It changes nothing outside itself. */
export class Supervisor {
  private nextAt = 0;
  /** Where the round goes on; null begins it anew. */
  private after: string | null = null;

  constructor(
    private readonly ctx: EngineContext,
    private readonly ledger: StepLedger,
  ) {}

  /** Returns how many repairs it started. Called as often as one likes: between two looks it does nothing. `force`: all, now. */
  async look(force = false): Promise<number> {
    const now = realNow().getTime();
    if (!force && now < this.nextAt) return 0;
    this.nextAt = now + this.ctx.times.superviseMs;
    if (force) this.after = null;
    let repairs = 0;
    do repairs += await this.lookAtSome();
    while (force && this.after !== null);
    return repairs;
  }

  private async lookAtSome(): Promise<number> {
    const { clustersPerLook } = this.ctx.times;
    const clusters = await this.ctx.db.ops(async (tx) => {
      for (const clusterId of await expiredApprovals(this.ctx, tx)) await enqueueReconcile(this.ctx, tx, clusterId);
      return tx.query<ClusterRow>(
        `select * from clusters where phase in ('active', 'approval') and deleted_at is null and ($1::uuid is null or cluster_id > $1) order by cluster_id limit $2`,
        [this.after, clustersPerLook],
      );
    });
    this.after = clusters.length < clustersPerLook ? null : clusters.at(-1)!.cluster_id;
    const seen = await this.observe(clusters);
    if (seen.length === 0) return 0;
    const waiting = await this.ctx.db.ops(async (tx) => {
      await noteObserved(tx, seen, this.ctx.clock.now());
      return unacknowledgedAmong(
        tx,
        seen.filter((s) => s.observation.metering?.backlog === 0).map((s) => s.cluster.cluster_id),
      );
    });
    let repairs = 0;
    for (const one of seen) {
      if (isDown(one.observation)) repairs += (await this.repair(one)) ? 1 : 0;
      else if (waiting.has(one.cluster.cluster_id)) await this.wake(one);
    }
    return repairs;
  }

  /** Those that answered. */
  private async observe(clusters: readonly ClusterRow[]): Promise<Seen[]> {
    const left = [...clusters];
    const seen: Seen[] = [];
    const askNext = async (): Promise<void> => {
      for (let cluster = left.shift(); cluster; cluster = left.shift()) {
        try {
          seen.push({ cluster, observation: await this.ledger.observeCluster(cluster) });
        } catch (error) {
          this.ctx.logger.warn({ cluster: cluster.name, err: errorText(error) }, 'a cluster could not be observed');
        }
      }
    };
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, askNext));
    return seen;
  }

  private repair({ cluster: { cluster_id, name }, observation: { reasons } }: Seen): Promise<boolean> {
    return this.ctx.db.ops(async (tx) => {
      if (await this.giveWay(tx, cluster_id)) return true;
      const cluster = await this.between(tx, cluster_id);
      if (!cluster) return false;
      this.ctx.logger.warn({ cluster: name, reasons }, 'a cluster is down; it is being repaired');
      await move(this.ctx, tx, cluster, 'unhealthy');
      await enqueueReconcile(this.ctx, tx, cluster_id);
      return true;
    });
  }

  /** What waits for a decision and is down is repaired first, at the size it has. */
  private async giveWay(tx: Tx, clusterId: string): Promise<boolean> {
    const cluster = (await loadCluster(tx, clusterId, true))!;
    if (cluster.phase !== 'approval' || !cluster.recorded.resize) return false;
    await closePlan(tx, cluster, 'void');
    const detail = 'It went down while the plan waited, and is repaired first.';
    await keepAsItWas(this.ctx, tx, cluster, { class: 'conflict', code: 'cluster.down', detail, step: 'approval' }, 'unhealthy');
    return true;
  }

  /** Its last samples have been taken in by now: what waits for that goes on. */
  private wake({ cluster: { cluster_id } }: Seen): Promise<void> {
    return this.ctx.db.ops(async (tx) => {
      if (await this.between(tx, cluster_id)) await enqueueReconcile(this.ctx, tx, cluster_id);
    });
  }

  /** The cluster, locked, between two changes only: while one is in work, what was seen may already be past. */
  private async between(tx: Tx, clusterId: string): Promise<ClusterRow | null> {
    const cluster = (await loadCluster(tx, clusterId, true))!;
    return cluster.phase === 'active' && cluster.generation === cluster.observed_generation ? cluster : null;
  }
}

const isDown = ({ health, exists }: ClusterObservation): boolean => health === 'down' || !exists;

/** In one statement, over a fleet of which hardly any has changed. A row that is in work just now is written at the next look. */
async function noteObserved(tx: Tx, seen: readonly Seen[], now: Date): Promise<void> {
  await tx.query(
    `update clusters c set observed = u.observed, updated_at = $3
       from (select k.id, k.observed from unnest($1::uuid[], $2::jsonb[]) as k(id, observed) join clusters w on w.cluster_id = k.id
              where w.deleted_at is null order by k.id for update of w skip locked) u
      where c.cluster_id = u.id`,
    [
      seen.map((s) => s.cluster.cluster_id),
      seen.map(({ observation: { health, reasons, observedAt, observedGeneration, version, nodes, metering, exists } }) =>
        JSON.stringify({ health, reasons, observedAt, observedGeneration, version, nodes, metering, exists }),
      ),
      now,
    ],
  );
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
