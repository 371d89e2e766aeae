/** Rows as the database gives them: `bigint` as text, `jsonb` parsed, instants as `Date`. */
import type { Tx } from '#platform';
import type { ClusterSpec, CostRate, DriverErrorShape, DriverPlan, EndpointDescription, PreflightReport } from '#provisioning/core';
import type { ClusterPhase } from '../domain/cluster-states.js';
import type { OperationKind, OperationState } from '../domain/operation-kinds.js';
import type { DesiredState, PlacementPhase } from '../domain/placement-states.js';
import type { StepName } from '../domain/retry.js';

/** What the engine remembers of a cluster between two runs; observed truth is another column. */
export interface Recorded {
  /** The running or last cluster operation, which owns the step ledger. */
  readonly operationId?: string;
  /** Null once it is executed or void. */
  readonly plan?: DriverPlan | null;
  /** Its plan destroys data and waits for a person, or was approved and is being executed. `operationId` stays open meanwhile. */
  readonly approval?: { readonly planId: string; readonly operationId: string };
  /** Somebody wants this operation stopped. */
  readonly cancel?: { readonly operationId: string; readonly by: string; readonly reason: string };
  /** Present once something was built. */
  readonly stateSerial?: number;
  /** False from each build on, until the data path is proved again. */
  readonly validated?: boolean;
  /** Proofs that did not pass, in a row; judged before a person is asked. */
  readonly unproved?: number;
  /** Pre-flight checks without a verdict, and plans that went stale, in a row. */
  readonly unchecked?: number;
  readonly replans?: number;
  readonly error?: StoredError | null;
  /** The last checks before something was built. */
  readonly preflight?: PreflightReport & { readonly at: string };
  /** What the last plan said that an hour costs; null: the driver does not know. */
  readonly cost?: CostRate | null;
  /** While it is to have another size: what it had, and who wanted it. Gone with the outcome. */
  readonly resize?: { readonly from: ClusterSpec; readonly by: string; readonly reason: string };
  /** While it is to run another version: which, and who wanted it. Gone with the outcome. */
  readonly upgrade?: { readonly to: string; readonly by: string; readonly reason: string };
  /** An upgrade that waits for its window. */
  readonly booked?: {
    readonly operationId: string;
    readonly to: string;
    readonly by: string;
    readonly reason: string;
    readonly notBefore: string;
    readonly notAfter: string | null;
  };
  /** Who wanted it gone, and why; from then on nothing else is done with it. */
  readonly retirement?: { readonly by: string; readonly reason: string; readonly at: string };
  /** What the last look still found, and how many looks in a row found something. */
  readonly survivors?: readonly string[];
  readonly sweeps?: number;
}

export type StoredError = DriverErrorShape & { readonly step: string };

export interface ClusterRow {
  cluster_id: string;
  name: string;
  driver: string;
  variant: string;
  region: string;
  shape: string;
  phase: ClusterPhase;
  desired: ClusterSpec;
  recorded: Recorded;
  observed: Record<string, unknown> | null;
  generation: string;
  observed_generation: string;
  fence: string;
  lease_until: Date | null;
  handle: string | null;
  cell_key_sealed: string | null;
  cordoned_at: Date | null;
  created_at: Date;
  updated_at: Date;
  deleted_at: Date | null;
}

/** The end of a placement's usage, as the cluster reported it. */
export interface StoredSample {
  readonly at: string;
  readonly sequence: string | null;
  readonly acknowledged: boolean;
}

export interface PlacementRow {
  placement_id: string;
  tenant_id: string;
  subscription_id: string;
  cluster_id: string;
  account_name: string;
  phase: PlacementPhase;
  desired: DesiredState;
  generation: string;
  observed_generation: string;
  endpoint: string | null;
  endpoint_description: EndpointDescription | null;
  region: string;
  activated_at: Date | null;
  access_ended_at: Date | null;
  last_sample: StoredSample | null;
  purged_at: Date | null;
  version: number;
  created_at: Date;
  updated_at: Date;
}

export interface LogLine {
  readonly at: string;
  readonly phase: string;
  readonly message: string;
  /** The step that this line tells of. */
  readonly step?: StepName;
  /** A try of the step did not succeed; another follows. */
  readonly failed?: true;
}

export interface OperationRow {
  operation_id: string;
  tenant_id: string | null;
  kind: OperationKind;
  subject_kind: 'cluster' | 'placement';
  subject_id: string;
  cluster_id: string;
  subscription_id: string | null;
  generation: string;
  phase: string;
  step: number;
  steps: number;
  awaited: string | null;
  state: OperationState;
  log: LogLine[];
  error: StoredError | null;
  created_at: Date;
  updated_at: Date;
  finished_at: Date | null;
}

export interface StepRow {
  operation_id: string;
  step_no: number;
  step_id: string;
  name: string;
  intent_at: Date;
  intent: Record<string, unknown>;
  attempts: number;
  outcome_at: Date | null;
  outcome: unknown;
  state: 'intent' | 'unknown' | 'ok' | 'refused' | 'abandoned';
}

export async function loadCluster(tx: Tx, clusterId: string, lock = false): Promise<ClusterRow | undefined> {
  const [row] = await tx.query<ClusterRow>(`select * from clusters where cluster_id = $1${lock ? ' for update' : ''}`, [clusterId]);
  return row;
}

/** Everything on the cluster that is not purged, oldest first. */
export function placementsOn(tx: Tx, clusterId: string, lock = false): Promise<PlacementRow[]> {
  return tx.query<PlacementRow>(
    `select * from placements where cluster_id = $1 and phase <> 'purged' order by placement_id${lock ? ' for update' : ''}`,
    [clusterId],
  );
}

export type PlacementChange = Partial<
  Pick<
    PlacementRow,
    | 'phase'
    | 'desired'
    | 'generation'
    | 'observed_generation'
    | 'endpoint'
    | 'endpoint_description'
    | 'activated_at'
    | 'access_ended_at'
    | 'last_sample'
    | 'purged_at'
  >
>;
export type ClusterChange = Partial<
  Pick<
    ClusterRow,
    | 'phase'
    | 'desired'
    | 'shape'
    | 'recorded'
    | 'observed'
    | 'generation'
    | 'observed_generation'
    | 'handle'
    | 'cordoned_at'
    | 'deleted_at'
    | 'cell_key_sealed'
  >
>;

const JSON_COLUMNS: ReadonlySet<string> = new Set(['desired', 'recorded', 'observed', 'last_sample', 'endpoint_description']);
const assignments = (change: object, first: number): { sql: string; values: unknown[] } => {
  const entries = Object.entries(change).filter(([, value]) => value !== undefined);
  return {
    sql: entries.map(([name], i) => `${name} = $${first + i}`).join(', '),
    values: entries.map(([name, value]) => (JSON_COLUMNS.has(name) && value !== null ? JSON.stringify(value) : value)),
  };
};

/** Column names come from the type above, never from outside. */
export async function updatePlacement(tx: Tx, placementId: string, change: PlacementChange, now: Date): Promise<void> {
  const { sql, values } = assignments(change, 3);
  await tx.query(`update placements set version = version + 1, updated_at = $2${sql ? `, ${sql}` : ''} where placement_id = $1`, [
    placementId,
    now,
    ...values,
  ]);
}

/** For a caller that holds the row's lock. */
export async function updateCluster(tx: Tx, clusterId: string, change: ClusterChange, now: Date): Promise<void> {
  const { sql, values } = assignments(change, 3);
  await tx.query(`update clusters set updated_at = $2${sql ? `, ${sql}` : ''} where cluster_id = $1`, [clusterId, now, ...values]);
}
