import type { ClusterPhase } from './cluster-states.js';

/** What a person can wait for. Those of a cluster carry the step ledger; those of a placement mirror its progress. */
export type PlacementOperationKind =
  'provision' | 'set_limits' | 'rotate_key' | 'suspend' | 'resume' | 'end_access' | 'open_export' | 'close_export' | 'purge';
export type ClusterOperationKind =
  'create_cluster' | 'configure_cluster' | 'repair_cluster' | 'resize_cluster' | 'upgrade_cluster' | 'retire_cluster';
export type OperationKind = PlacementOperationKind | ClusterOperationKind;
export type OperationState = 'running' | 'succeeded' | 'failed' | 'cancelled';

const BUILD: readonly ClusterPhase[] = ['preflight', 'planned', 'provisioning', 'configuring', 'validating'];
const PROVE: readonly ClusterPhase[] = ['configuring', 'validating'];
const SEND: readonly ClusterPhase[] = ['configuring'];

const STEPS: Record<OperationKind, readonly ClusterPhase[]> = {
  provision: BUILD,
  create_cluster: BUILD,
  repair_cluster: BUILD,
  resize_cluster: BUILD,
  resume: PROVE,
  configure_cluster: PROVE,
  set_limits: SEND,
  rotate_key: SEND,
  suspend: SEND,
  open_export: SEND,
  close_export: SEND,
  purge: SEND,
  upgrade_cluster: ['upgrading', 'configuring', 'validating'],
  retire_cluster: ['retiring'],
  // The second step is the usage intake's acknowledgement of the last sample, once the cluster is at rest.
  end_access: ['configuring', 'active'],
};

/**
 * What can be stopped, and in which phases its change is not made yet. Wishes about access are not here: their opposite takes them back,
 * and a list that is half in force helps nobody.
 */
export const CANCELLABLE: Readonly<Partial<Record<OperationKind, readonly ClusterPhase[]>>> = {
  create_cluster: ['requested', 'preflight', 'planned', 'approval', 'provisioning'],
  repair_cluster: ['degraded', 'preflight', 'planned', 'approval', 'provisioning'],
  resize_cluster: ['preflight', 'planned', 'approval', 'provisioning'],
  upgrade_cluster: ['upgrading'],
  retire_cluster: ['retiring'],
};

/** Phase of an operation that waits for its window: no work of its cluster is its progress or its end. */
export const BOOKED = 'booked';

export const stepsOf = (kind: OperationKind): number => STEPS[kind].length;

/** Step n of m of an operation while its cluster is in this phase; 0 before its first step. */
export function stepOf(kind: OperationKind, phase: ClusterPhase): number {
  return STEPS[kind].indexOf(phase) + 1;
}
