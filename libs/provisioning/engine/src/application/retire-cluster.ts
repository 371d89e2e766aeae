/** Wishes about a cluster itself. An operator's alone: a cluster has no tenant. */
import { ProblemError, type Tx } from '#platform';
import { nextCluster, clusterTransitions } from '../domain/cluster-states.js';
import { finishOperation, runningOn, startOperation } from '../infra/operations.js';
import { updateCluster } from '../infra/rows.js';
import type { Wish } from './change-placement.js';
import { enqueueReconcile, type EngineContext } from './context.js';
import { clusterInState, lockCluster } from './lock-cluster.js';
import { approvalOver, closePlan } from './plan-approval.js';

export interface Retirement {
  /** The cluster's name, once more. */
  readonly confirm: string;
  /** Who wants it. */
  readonly by: string;
  readonly reason: string;
}

/** No more placements go to it. Said twice it is said once. */
export async function cordonCluster(ctx: EngineContext, tx: Tx, clusterId: string): Promise<void> {
  const cluster = await lockCluster(tx, clusterId);
  if (cluster.phase === 'retired') throw clusterInState(cluster, 'cordon');
  if (cluster.cordoned_at === null) await updateCluster(tx, clusterId, { cordoned_at: ctx.clock.now() }, ctx.clock.now());
}

/** Takes placements again. Refused once it is being taken down: that is not undone. */
export async function uncordonCluster(ctx: EngineContext, tx: Tx, clusterId: string): Promise<void> {
  const cluster = await lockCluster(tx, clusterId);
  if (cluster.recorded.retirement) throw clusterInState(cluster, 'placements: it is being taken down, or was');
  await updateCluster(tx, clusterId, { cordoned_at: null }, ctx.clock.now());
}

/**
 * Takes a cluster down for good. Refused while anything of a tenant is on it, kept data included (`cluster.not_empty`): placements
 * leave by their own way, through settled usage and the retention hold (law 8). Asked again it answers the running operation.
 */
export async function retireCluster(ctx: EngineContext, tx: Tx, clusterId: string, wish: Retirement): Promise<Wish> {
  const cluster = await lockCluster(tx, clusterId);
  if (wish.confirm !== cluster.name)
    throw new ProblemError('unprocessable', 'cluster.not_confirmed', `Name the cluster once more to take it down: ${cluster.name}.`);
  if (cluster.phase === 'retiring') return { operationId: cluster.recorded.operationId ?? null };
  if (cluster.phase === 'retired') return { operationId: null };
  const left = await tx.query<{ phase: string; n: string }>(
    `select phase, count(*) as n from placements where cluster_id = $1 and phase <> 'purged' group by phase order by phase`,
    [clusterId],
  );
  if (left.length > 0)
    throw new ProblemError(
      'conflict',
      'cluster.not_empty',
      `There are placements on ${cluster.name}: ${left.map((l) => `${l.n} ${l.phase}`).join(', ')}. Cordon it, and let them end and be purged.`,
      { placements: Object.fromEntries(left.map((l) => [l.phase, Number(l.n)])) },
    );
  if (!('retire' in clusterTransitions[cluster.phase])) throw clusterInState(cluster, 'retirement while work on it is under way');
  const now = ctx.clock.now();
  const generation = (BigInt(cluster.generation) + 1n).toString();
  await closePlan(tx, cluster, 'void');
  const { booked } = cluster.recorded;
  const given = [...(await runningOn(tx, clusterId)), ...(booked ? [{ operation_id: booked.operationId }] : [])];
  for (const op of given) await finishOperation(tx, now, op, 'cancelled', 'The cluster is taken down instead.');
  const operationId = await startOperation(tx, now, 'retire_cluster', { clusterId, generation }, `It is to be taken down: ${wish.reason}`);
  await updateCluster(
    tx,
    clusterId,
    {
      phase: nextCluster(cluster.phase, 'retire'),
      generation,
      cordoned_at: cluster.cordoned_at ?? now,
      recorded: {
        ...cluster.recorded,
        ...approvalOver,
        operationId,
        plan: null,
        cancel: undefined,
        booked: undefined,
        sweeps: 0,
        survivors: [],
        error: null,
        retirement: { by: wish.by, reason: wish.reason, at: now.toISOString() },
      },
    },
    now,
  );
  await enqueueReconcile(ctx, tx, clusterId);
  return { operationId };
}
