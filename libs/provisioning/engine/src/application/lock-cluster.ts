import { ProblemError, type Tx } from '#platform';
import { loadCluster, type ClusterRow } from '../infra/rows.js';

/** The cluster that an operator has a wish about, under its lock. Throws `cluster.unknown`. */
export async function lockCluster(tx: Tx, clusterId: string): Promise<ClusterRow> {
  const cluster = await loadCluster(tx, clusterId, true);
  if (!cluster) throw new ProblemError('not_found', 'cluster.unknown', `There is no cluster ${clusterId}.`);
  return cluster;
}

/** `cluster.in_state`: what is asked for does not go with what the cluster is. */
export const clusterInState = ({ phase }: Pick<ClusterRow, 'phase'>, what: string): ProblemError =>
  new ProblemError('conflict', 'cluster.in_state', `A cluster that is ${phase} takes no ${what}.`, { phase });
