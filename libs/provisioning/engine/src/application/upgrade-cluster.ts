/** Another version of a cluster's software, in place: its placements keep endpoint, keys and data. */
import { ProblemError, type Tx } from '#platform';
import { nextCluster } from '../domain/cluster-states.js';
import { updateCluster, type ClusterRow } from '../infra/rows.js';
import { BOOKED } from '../domain/operation-kinds.js';
import { notePhase } from '../infra/operations.js';
import { beginOperation, concludeOperations } from './cluster-operations.js';
import type { Wish } from './change-placement.js';
import { driverOf, enqueueReconcile, type EngineContext } from './context.js';
import { clusterInState, lockCluster } from './lock-cluster.js';
import { move } from './move.js';
import type { Step } from './step.js';

export interface Upgrade {
  /** One that the driver offers, later than the one it runs. */
  readonly version: string;
  readonly by: string;
  readonly reason: string;
}

/**
 * Asks for another version of a cluster that serves. One at a time of a driver and region: a version that breaks is found out with one
 * cluster, not with all. `cluster.upgrade_unsupported`, `cluster.version_unsupported` (with what is offered), `cluster.upgrade_busy`,
 * `cluster.in_state`. What it runs already is no wish.
 */
export async function upgradeCluster(ctx: EngineContext, tx: Tx, clusterId: string, wish: Upgrade): Promise<Wish> {
  const cluster = await lockCluster(tx, clusterId);
  const runs = versionOf(cluster);
  assertOffered(ctx, cluster, wish.version, runs);
  if (cluster.recorded.upgrade?.to === wish.version) return { operationId: cluster.recorded.operationId ?? null };
  if (wish.version === runs) return { operationId: null };
  return beginUpgrade(ctx, tx, cluster, wish);
}

/** Of a locked cluster that may have that version. `booked`: the operation that has waited for its window goes on as this one. */
export async function beginUpgrade(ctx: EngineContext, tx: Tx, cluster: ClusterRow, wish: Upgrade, booked?: string): Promise<Wish> {
  const clusterId = cluster.cluster_id;
  if (cluster.phase !== 'active') throw clusterInState(cluster, 'other version');
  await assertAlone(tx, cluster);
  if (booked) await concludeOperations(ctx, tx, clusterId);
  const operationId =
    booked ?? (await beginOperation(ctx, tx, cluster, 'upgrade_cluster', `It is to run version ${wish.version}: ${wish.reason}`));
  if (booked) await notePhase(tx, ctx.clock.now(), booked, { phase: 'requested', awaited: 'its turn' });
  await updateCluster(
    tx,
    clusterId,
    {
      phase: nextCluster(cluster.phase, 'upgrade'),
      recorded: {
        ...cluster.recorded,
        operationId,
        unproved: 0,
        error: null,
        upgrade: { to: wish.version, by: wish.by, reason: wish.reason },
      },
    },
    ctx.clock.now(),
  );
  await enqueueReconcile(ctx, tx, clusterId);
  return { operationId };
}

/** What it runs: seen last, else what was wanted. */
export function versionOf(cluster: ClusterRow): string | null {
  const seen = cluster.observed?.['version'];
  return typeof seen === 'string' ? seen : cluster.desired.version;
}

export function assertOffered(ctx: EngineContext, cluster: ClusterRow, version: string, runs: string | null): void {
  const can = driverOf(ctx, cluster.driver).capabilities();
  if (!can.upgrade)
    throw new ProblemError('unprocessable', 'cluster.upgrade_unsupported', `The driver "${cluster.driver}" upgrades nothing.`);
  const offered = can.versions.slice(Math.max(0, runs === null ? 0 : can.versions.indexOf(runs)));
  if (!offered.includes(version))
    throw new ProblemError(
      'unprocessable',
      'cluster.version_unsupported',
      `From ${runs ?? 'what it runs'} there is no way to "${version}".`,
      {
        offered,
      },
    );
}

async function assertAlone(tx: Tx, cluster: ClusterRow): Promise<void> {
  const place = `upgrade:${cluster.driver}/${cluster.region}`;
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [place]);
  const [other] = await tx.query<{ name: string }>(
    `select c.name from operations o join clusters c using (cluster_id)
      where o.kind = 'upgrade_cluster' and o.state = 'running' and o.phase <> $4 and c.driver = $1 and c.region = $2 and c.cluster_id <> $3 limit 1`,
    [cluster.driver, cluster.region, cluster.cluster_id, BOOKED],
  );
  if (other)
    throw new ProblemError('conflict', 'cluster.upgrade_busy', `${other.name} is being upgraded there; one at a time.`, {
      cluster: other.name,
    });
}

export function upgradeStep(ctx: EngineContext): Step<{ readonly version: string }> {
  return {
    name: 'upgrade',
    changes: true,
    awaited: 'the cluster to run another version',
    intent: async (_tx, cluster) => ({ version: cluster.recorded.upgrade!.to }),
    async ask(driver, call, intent) {
      const version = intent['version'] as string;
      const { output: _none, ...result } = await driver.upgrade(call, { version });
      return result.phase === 'succeeded' ? { ...result, output: { version } } : result;
    },
    // What runs is no proof that the driver came to its end (its record, terraform's state): it is asked again, and ensures.
    record: (outcome) => outcome,
    async done(tx, cluster, { version }) {
      const desired = { ...cluster.desired, version };
      await updateCluster(tx, cluster.cluster_id, { desired }, ctx.clock.now());
      await move(ctx, tx, cluster, 'upgraded', { validated: false, upgrade: undefined, cancel: undefined });
    },
  };
}
