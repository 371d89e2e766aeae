import { ProblemError, type Tx } from '#platform';
import type { ClusterSpec } from '#provisioning/core';
import { lackingAt } from '../domain/cluster-room.js';
import { nextCluster, type ClusterPhase } from '../domain/cluster-states.js';
import { finishOperation, runningOn } from '../infra/operations.js';
import { takenOf } from '../infra/rooms.sql.js';
import { updateCluster, type ClusterRow, type StoredError } from '../infra/rows.js';
import { isCancellation } from './cancel-operation.js';
import { beginOperation } from './cluster-operations.js';
import type { Wish } from './change-placement.js';
import { assertWithinLimits } from './build-gates.js';
import { assertCreatable } from './readiness.js';
import { driverOf, enqueueReconcile, type EngineContext } from './context.js';
import { clusterInState, lockCluster } from './lock-cluster.js';
import { approvalOver } from './plan-approval.js';

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
 * Asks for another size of a cluster that serves. Checks and plan come first, and a plan that would lose data waits for a person:
 * whatever stops it, the cluster keeps the size it had and goes on serving. What its driver cannot do is refused at once
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
  const waiting = cluster.recorded.approval?.operationId ?? cluster.recorded.operationId ?? null;
  if (same) return { operationId: cluster.recorded.resize ? waiting : null };
  if (cluster.phase !== 'active') throw clusterInState(cluster, 'other size');
  // To give room back is never stopped.
  const makes = to.shape !== cluster.desired.shape || !isSmaller(to, cluster.desired);
  if (makes) await assertCreatable(tx, driverOf(ctx, cluster.driver).capabilities(), to);
  await assertWithinLimits(tx, clusterId, to);
  const operationId = await beginOperation(ctx, tx, cluster, 'resize_cluster', `It is to have another size: ${wish.reason}`);
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
    ctx.clock.now(),
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
  const smaller = isSmaller(to, cluster.desired);
  if (smaller ? !offer.resizeDown : !offer.resizeUp)
    throw new ProblemError(
      'unprocessable',
      'cluster.resize_unsupported',
      `The driver "${cluster.driver}" makes no cluster ${smaller ? 'smaller' : 'larger'}.`,
    );
}

/** Fewer nodes, or less capacity where both are named. */
function isSmaller(to: ClusterSpec, from: ClusterSpec): boolean {
  const less = to.capacityBytes !== null && from.capacityBytes !== null && BigInt(to.capacityBytes) < BigInt(from.capacityBytes);
  return to.nodes < from.nodes || less;
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

/** Phases in which a cluster that serves is changed: from there on nobody knows what it is, until it is proved. */
const CHANGING: ReadonlySet<ClusterPhase> = new Set(['provisioning', 'upgrading']);

/**
 * Another size or version did not come about. The cluster is wanted as it was and goes on: a suspension may not wait until somebody has
 * found quota. Where the change had begun, it is proved again before it counts as serving.
 */
export async function keepAsItWas(
  ctx: EngineContext,
  tx: Tx,
  cluster: ClusterRow,
  error: StoredError,
  event: 'keep' | 'unhealthy' = 'keep',
): Promise<void> {
  const now = ctx.clock.now();
  const from = cluster.recorded.resize?.from ?? cluster.desired;
  for (const op of await runningOn(tx, cluster.cluster_id))
    if (op.kind === 'resize_cluster' || op.kind === 'upgrade_cluster')
      await finishOperation(
        tx,
        now,
        op,
        isCancellation(error) ? 'cancelled' : 'failed',
        `It keeps what it had. Step ${error.step}: ${error.code}.`,
        error,
      );
  await updateCluster(
    tx,
    cluster.cluster_id,
    {
      phase: nextCluster(cluster.phase, event),
      desired: from,
      shape: from.shape,
      recorded: {
        ...cluster.recorded,
        ...approvalOver,
        operationId: undefined,
        plan: null,
        resize: undefined,
        upgrade: undefined,
        validated: CHANGING.has(cluster.phase) ? false : cluster.recorded.validated,
        unproved: 0,
        error,
      },
    },
    now,
  );
  await enqueueReconcile(ctx, tx, cluster.cluster_id);
}
