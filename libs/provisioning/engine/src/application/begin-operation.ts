import type { Tx } from '#platform';
import type { OperationKind } from '../domain/operation-kinds.js';
import { finishOperation, runningOn, startOperation } from '../infra/operations.js';
import type { ClusterRow } from '../infra/rows.js';
import type { EngineContext } from './context.js';

/** A change of a cluster that serves begins, with an operation of its own; one that told of the change before is over. Answers its id. */
export async function beginOperation(
  ctx: EngineContext,
  tx: Tx,
  cluster: Pick<ClusterRow, 'cluster_id' | 'generation'>,
  kind: OperationKind,
  message: string,
): Promise<string> {
  const now = ctx.clock.now();
  for (const op of await runningOn(tx, cluster.cluster_id))
    if (op.subject_kind === 'cluster') await finishOperation(tx, now, op, 'succeeded', 'The cluster is as desired.');
  return startOperation(tx, now, kind, { clusterId: cluster.cluster_id, generation: cluster.generation }, message);
}
