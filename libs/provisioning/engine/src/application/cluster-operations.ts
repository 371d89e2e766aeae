import type { Tx } from '#platform';
import type { OperationKind } from '../domain/operation-kinds.js';
import { finishOperation, runningOn, startOperation } from '../infra/operations.js';
import type { ClusterRow } from '../infra/rows.js';
import type { EngineContext } from './context.js';

/** The cluster's own operations have come to their end: it is as it was wanted. */
export async function concludeOperations(ctx: EngineContext, tx: Tx, clusterId: string): Promise<void> {
  for (const op of await runningOn(tx, clusterId))
    if (op.subject_kind === 'cluster') await finishOperation(tx, ctx.clock.now(), op, 'succeeded', 'The cluster is as desired.');
}

/** A change of a cluster that serves begins, with an operation of its own; one that told of the change before is over. Answers its id. */
export async function beginOperation(
  ctx: EngineContext,
  tx: Tx,
  cluster: Pick<ClusterRow, 'cluster_id' | 'generation'>,
  kind: OperationKind,
  message: string,
): Promise<string> {
  await concludeOperations(ctx, tx, cluster.cluster_id);
  return startOperation(tx, ctx.clock.now(), kind, { clusterId: cluster.cluster_id, generation: cluster.generation }, message);
}
