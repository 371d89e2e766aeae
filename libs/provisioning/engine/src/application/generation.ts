import type { Tx } from '#platform';
import { nextCluster } from '../domain/cluster-states.js';
import { updateCluster, type ClusterRow } from '../infra/rows.js';
import { isBuilt } from './context.js';

/** The next generation of a locked cluster. A failed one is tried again: the wish may not wait behind an old failure. */
export async function raiseGeneration(tx: Tx, cluster: ClusterRow, now: Date): Promise<string> {
  const generation = (BigInt(cluster.generation) + 1n).toString();
  const again = cluster.recorded.retirement ? 'retire' : isBuilt(cluster) ? 'reconfigure' : 'rebuild';
  const phase = cluster.phase === 'failed' ? nextCluster('failed', again) : cluster.phase;
  const recorded =
    cluster.phase === 'failed'
      ? { ...cluster.recorded, operationId: undefined, plan: null, unproved: 0, unchecked: 0, replans: 0, sweeps: 0, error: null }
      : undefined;
  await updateCluster(tx, cluster.cluster_id, { generation, phase, recorded }, now);
  return generation;
}
