import type { Tx } from '#platform';
import { nextCluster, type ClusterEvent } from '../domain/cluster-states.js';
import { updateCluster, type ClusterRow, type Recorded } from '../infra/rows.js';
import type { EngineContext } from './context.js';

/** Moves a locked cluster, in the transaction of the cause. */
export async function move(
  ctx: EngineContext,
  tx: Tx,
  cluster: ClusterRow,
  event: ClusterEvent,
  recorded: Partial<Recorded> = {},
  more: { observedGeneration?: string } = {},
): Promise<void> {
  const phase = nextCluster(cluster.phase, event);
  await updateCluster(
    tx,
    cluster.cluster_id,
    { phase, recorded: { ...cluster.recorded, ...recorded }, observed_generation: more.observedGeneration },
    ctx.clock.now(),
  );
}
