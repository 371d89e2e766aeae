/** Stops long work on a cluster: cooperative, and what is done is not undone (contract provisioning §4.2). */
import { ProblemError, type Tx } from '#platform';
import type { DriverErrorShape } from '#provisioning/core';
import { CANCELLABLE } from '../domain/operation-kinds.js';
import { cancelBooked } from './book-upgrade.js';
import { updateCluster, type ClusterRow, type OperationRow } from '../infra/rows.js';
import { enqueueReconcile, type EngineContext } from './context.js';
import { lockCluster } from './lock-cluster.js';

export interface Cancellation {
  readonly by: string;
  readonly reason: string;
}

/**
 * Asks for an operation to be stopped; it ends as `cancelled` when the driver has. Asked twice it is asked once. `operation.unknown`,
 * `operation.in_state`, `operation.not_cancellable`, `operation.too_late`: its change is made, and only what makes it serve is left.
 */
export async function cancelOperation(ctx: EngineContext, tx: Tx, operationId: string, wish: Cancellation): Promise<void> {
  const [found] = await tx.query<OperationRow>('select * from operations where operation_id = $1', [operationId]);
  if (!found) throw new ProblemError('not_found', 'operation.unknown', `There is no operation ${operationId}.`);
  const phases = CANCELLABLE[found.kind];
  if (!phases)
    throw new ProblemError('conflict', 'operation.not_cancellable', `An operation "${found.kind}" cannot be stopped.`, {
      kind: found.kind,
    });
  const cluster = await lockCluster(tx, found.cluster_id);
  const [op] = await tx.query<OperationRow>('select * from operations where operation_id = $1', [operationId]);
  if (op!.state !== 'running')
    throw new ProblemError('conflict', 'operation.in_state', `An operation that is ${op!.state} cannot be stopped.`, { state: op!.state });
  if (await cancelBooked(ctx, tx, cluster, operationId, wish)) return;
  const waits = cluster.recorded.approval?.operationId === operationId;
  if (!waits && (cluster.recorded.operationId !== operationId || !phases.includes(cluster.phase)))
    throw new ProblemError('conflict', 'operation.too_late', 'Its change is made; only what makes it serve is left.', {
      phase: cluster.phase,
    });
  if (cluster.recorded.cancel?.operationId === operationId) return;
  await updateCluster(tx, cluster.cluster_id, { recorded: { ...cluster.recorded, cancel: { operationId, ...wish } } }, ctx.clock.now());
  await enqueueReconcile(ctx, tx, cluster.cluster_id);
  // It may wait for its next look at a slow driver: a stop does not wait for that.
  await ctx.tasks.hurry(tx, `cluster:${cluster.cluster_id}`);
}

/** True while the operation at work shall stop and its change is not made. */
export function stopWanted({ phase, recorded }: Pick<ClusterRow, 'phase' | 'recorded'>): boolean {
  const { cancel, operationId } = recorded;
  return cancel !== undefined && cancel.operationId === operationId && STOPPABLE.has(phase);
}

const STOPPABLE: ReadonlySet<string> = new Set(Object.values(CANCELLABLE).flat());

/** Why it stopped, as the operation's error. */
export const stoppedBy = ({ recorded }: Pick<ClusterRow, 'recorded'>): DriverErrorShape => ({
  class: 'conflict',
  code: 'operation.cancelled',
  detail: `${recorded.cancel!.by} stopped it: ${recorded.cancel!.reason} What is done was not undone.`,
});

export const isCancellation = (error: Pick<DriverErrorShape, 'code'>): boolean => error.code === 'operation.cancelled';
