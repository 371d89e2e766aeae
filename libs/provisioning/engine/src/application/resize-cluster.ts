import { ProblemError, type Tx } from '#platform';
import type { ClusterSpec } from '#provisioning/core';
import { lackingAt } from '../domain/cluster-room.js';
import { nextCluster } from '../domain/cluster-states.js';
import { finishOperation, runningOn, startOperation } from '../infra/operations.js';
import { takenOf } from '../infra/rooms.sql.js';
import { updateCluster, type ClusterRow, type StoredError } from '../infra/rows.js';
import type { Wish } from './change-placement.js';
import { assertWithinLimits } from './build-gates.js';
import { assertCreatable } from './readiness.js';
import { driverOf, enqueueReconcile, type EngineContext } from './context.js';
import { clusterInState, lockCluster } from './lock-cluster.js';

export interface Resize {
  /** What is left out stays as it is. */
  readonly shape?: string | undefined;
  readonly nodes?: number | undefined;
  /** Bytes in decimal text; null is what the shape has. */
  readonly capacityBytes?: string | null | undefined;
  readonly by: string;
  readonly reason: string;
}

/**
 * Asks for another size of a cluster that serves. Checks and plan come first, and a plan that would lose data is refused: whatever
 * stops it, the cluster keeps the size it had and goes on serving. What its driver cannot do is refused at once
 * (contract provisioning §3.4: before any cost).
 */
export async function resizeCluster(ctx: EngineContext, tx: Tx, clusterId: string, wish: Resize): Promise<Wish> {
  const cluster = await lockCluster(tx, clusterId);
  const to: ClusterSpec = {
    ...cluster.desired,
    shape: wish.shape ?? cluster.desired.shape,
    nodes: wish.nodes ?? cluster.desired.nodes,
    capacityBytes: wish.capacityBytes === undefined ? cluster.desired.capacityBytes : wish.capacityBytes,
  };
  assertOffered(ctx, cluster, to);
  await assertKeepsAll(ctx, tx, cluster, to);
  const same =
    to.shape === cluster.desired.shape && to.nodes === cluster.desired.nodes && to.capacityBytes === cluster.desired.capacityBytes;
  if (same) return { operationId: cluster.recorded.resize ? (cluster.recorded.operationId ?? null) : null };
  if (cluster.phase !== 'active') throw clusterInState(cluster, 'other size');
  const grows =
    to.nodes > cluster.desired.nodes || to.shape !== cluster.desired.shape || to.capacityBytes !== cluster.desired.capacityBytes;
  if (grows) await assertCreatable(tx, driverOf(ctx, cluster.driver).capabilities(), to);
  await assertWithinLimits(tx, clusterId, to);
  const now = ctx.clock.now();
  for (const op of await runningOn(tx, clusterId))
    if (op.subject_kind === 'cluster') await finishOperation(tx, now, op, 'succeeded', 'The cluster is as desired.');
  const operationId = await startOperation(
    tx,
    now,
    'resize_cluster',
    { clusterId, generation: cluster.generation },
    `It is to have another size: ${wish.reason}`,
  );
  await updateCluster(
    tx,
    clusterId,
    {
      phase: nextCluster(cluster.phase, 'resize'),
      desired: to,
      shape: to.shape,
      recorded: {
        ...cluster.recorded,
        operationId,
        plan: null,
        unproved: 0,
        unchecked: 0,
        replans: 0,
        error: null,
        resize: { from: cluster.desired, by: wish.by, reason: wish.reason },
      },
    },
    now,
  );
  await enqueueReconcile(ctx, tx, clusterId);
  return { operationId };
}

function assertOffered(ctx: EngineContext, cluster: ClusterRow, to: ClusterSpec): void {
  const offer = driverOf(ctx, cluster.driver).capabilities();
  const shape = offer.shapes.find((s) => s.name === to.shape);
  if (!shape)
    throw new ProblemError('unprocessable', 'cluster.shape_unknown', `The driver "${cluster.driver}" offers no shape "${to.shape}".`);
  if (to.nodes < shape.minNodes || to.nodes > shape.maxNodes)
    throw new ProblemError(
      'unprocessable',
      'cluster.size_unsupported',
      `The shape "${shape.name}" has ${shape.minNodes} to ${shape.maxNodes} nodes, not ${to.nodes}.`,
      { minNodes: shape.minNodes, maxNodes: shape.maxNodes },
    );
  const bytes = (s: ClusterSpec): bigint => BigInt(s.capacityBytes ?? 0);
  const known = to.capacityBytes !== null && cluster.desired.capacityBytes !== null;
  const smaller = to.nodes < cluster.desired.nodes || (known && bytes(to) < bytes(cluster.desired));
  if (smaller ? !offer.resizeDown : !offer.resizeUp)
    throw new ProblemError(
      'unprocessable',
      'cluster.resize_unsupported',
      `The driver "${cluster.driver}" makes no cluster ${smaller ? 'smaller' : 'larger'}.`,
    );
}

/** What was promised to those on it is not taken back by a smaller size. */
async function assertKeepsAll(ctx: EngineContext, tx: Tx, cluster: ClusterRow, to: ClusterSpec): Promise<void> {
  const shape = driverOf(ctx, cluster.driver)
    .capabilities()
    .shapes.find((s) => s.name === to.shape)!;
  const taken = await takenOf(tx, cluster.cluster_id);
  const lacking = lackingAt(taken, shape, to.capacityBytes, ctx.policy.overcommitPercent);
  if (lacking !== null) throw new ProblemError('conflict', 'cluster.size_reserved', `The cluster cannot have this size: ${lacking}.`);
}

/**
 * It did not come about. The cluster is wanted as it was and goes on: a suspension may not wait until somebody has found quota. Where
 * building had begun, it is proved again before it counts as serving.
 */
export async function keepSize(ctx: EngineContext, tx: Tx, cluster: ClusterRow, error: StoredError): Promise<void> {
  const now = ctx.clock.now();
  const { from } = cluster.recorded.resize!;
  for (const op of await runningOn(tx, cluster.cluster_id))
    if (op.operation_id === cluster.recorded.operationId)
      await finishOperation(tx, now, op, 'failed', `It keeps its size. Step ${error.step}: ${error.code}.`, error);
  await updateCluster(
    tx,
    cluster.cluster_id,
    {
      phase: nextCluster(cluster.phase, 'keep'),
      desired: from,
      shape: from.shape,
      recorded: {
        ...cluster.recorded,
        operationId: undefined,
        plan: null,
        resize: undefined,
        validated: cluster.phase === 'provisioning' ? false : cluster.recorded.validated,
        unproved: 0,
        error,
      },
    },
    now,
  );
  await enqueueReconcile(ctx, tx, cluster.cluster_id);
}
