/** A cluster's life as data (contract provisioning §4.2). An event that stands in no row is a defect, not a no-op. */
export type ClusterPhase =
  | 'requested'
  | 'preflight'
  | 'planned'
  /** Its plan destroys data: it waits for a person, and serves meanwhile. */
  | 'approval'
  | 'provisioning'
  | 'configuring'
  | 'validating'
  | 'active'
  /** Its software is changed by restart; what comes after it is proved. */
  | 'upgrading'
  | 'degraded'
  | 'failed'
  | 'retiring'
  | 'retired';

export type ClusterEvent =
  /** Work begins: checks and a plan are made. */
  | 'begin'
  /** Checks passed and the plan is stored. */
  | 'plan_stored'
  /** The stored plan is executed. */
  | 'apply'
  /** The stored plan destroys data, or the cluster comes back from another wish to a plan that waits: a person decides. */
  | 'await'
  /** A person has named what is lost: exactly that plan is executed. */
  | 'approved'
  /** The plan has nothing to do. */
  | 'unchanged'
  /** The stored plan no longer fits what is there. */
  | 'replan'
  | 'applied'
  /** The full list is in force and something waits for proof. */
  | 'configured'
  /** The full list is in force and nothing waits for proof. */
  | 'settled'
  /** Control path and data path are proved. */
  | 'validated'
  /** The desired list has changed. */
  | 'reconfigure'
  /** The data path is down. */
  | 'unhealthy'
  /** It shall run another version. */
  | 'upgrade'
  | 'upgraded'
  /** It shall have another size: checks and a plan first, while it serves. */
  | 'resize'
  /** The other size or version did not come about: it keeps what it had, and is configured and, where something was changed, proved again. */
  | 'keep'
  /** Stopped; a person is needed. */
  | 'fail'
  /** Tried again from the start, because nothing was built. */
  | 'rebuild'
  /** Empty, and not wanted any more: it is taken down. */
  | 'retire'
  /** Nothing of it is left, by the driver's word and by the inventory. */
  | 'retired';

export const clusterTransitions = {
  requested: { begin: 'preflight', fail: 'failed', retire: 'retiring' },
  preflight: { plan_stored: 'planned', fail: 'failed', keep: 'configuring' },
  planned: { apply: 'provisioning', await: 'approval', unchanged: 'configuring', fail: 'failed', keep: 'configuring' },
  approval: {
    approved: 'provisioning',
    replan: 'preflight',
    reconfigure: 'configuring',
    keep: 'configuring',
    unhealthy: 'degraded',
    retire: 'retiring',
    fail: 'failed',
  },
  provisioning: { applied: 'configuring', replan: 'preflight', fail: 'failed', keep: 'configuring' },
  configuring: { configured: 'validating', settled: 'active', await: 'approval', fail: 'failed' },
  validating: { validated: 'active', reconfigure: 'configuring', await: 'approval', fail: 'failed' },
  active: { reconfigure: 'configuring', unhealthy: 'degraded', resize: 'preflight', upgrade: 'upgrading', retire: 'retiring' },
  upgrading: { upgraded: 'configuring', keep: 'configuring', fail: 'failed' },
  degraded: { begin: 'preflight', fail: 'failed', retire: 'retiring' },
  failed: { rebuild: 'requested', reconfigure: 'configuring', retire: 'retiring' },
  retiring: { retired: 'retired', fail: 'failed' },
  retired: {},
} as const satisfies Record<ClusterPhase, Partial<Record<ClusterEvent, ClusterPhase>>>;

export function nextCluster(phase: ClusterPhase, event: ClusterEvent): ClusterPhase {
  const row: Partial<Record<ClusterEvent, ClusterPhase>> = clusterTransitions[phase];
  const to = row[event];
  if (!to) throw new Error(`a cluster in ${phase} takes no ${event}`);
  return to;
}
