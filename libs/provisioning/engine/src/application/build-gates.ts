/** What stands between a plan and its execution: the stop of all creation, and the limits of those whom it is built for. */
import { ProblemError, type Tx } from '#platform';
import type { CostRate } from '#provisioning/core';
import { overLimit, type OverLimit } from '../domain/build-limits.js';
import { limitsOn } from '../infra/limit-rows.js';
import { readSwitch } from '../infra/readiness-rows.js';
import { loadCluster } from '../infra/rows.js';
import { isBuilt } from './context.js';

/** Whether a cluster that was never built has to wait, because an operator has stopped the creation of clusters. */
export async function isHeld(tx: Tx, clusterId: string): Promise<boolean> {
  const cluster = await loadCluster(tx, clusterId);
  return cluster !== undefined && !isBuilt(cluster) && (await readSwitch(tx, 'stop_creating'))?.is_on === true;
}

/** The first limit of anybody on the cluster that its stored plan passes. */
export async function limitOfPlan(tx: Tx, clusterId: string): Promise<OverLimit | null> {
  const cluster = (await loadCluster(tx, clusterId))!;
  const { plan } = cluster.recorded;
  // What makes nothing and changes nothing costs no more than before.
  if (!plan || plan.create + plan.update + plan.replace === 0) return null;
  return limitPassed(tx, clusterId, { nodes: cluster.desired.nodes, cost: plan.cost });
}

/** Before another size is asked for: `limit.max_nodes`. */
export async function assertWithinLimits(tx: Tx, clusterId: string, build: { nodes: number }): Promise<void> {
  const over = await limitPassed(tx, clusterId, build);
  if (over) throw new ProblemError('unprocessable', over.code, over.detail);
}

async function limitPassed(tx: Tx, clusterId: string, build: { nodes: number; cost?: CostRate | null }): Promise<OverLimit | null> {
  for (const limits of await limitsOn(tx, clusterId)) {
    const over = overLimit(limits, build);
    if (over) return over;
  }
  return null;
}
