import { uuidv7, type Database, type Tx } from '#platform';
import { assertFence, type ClusterSpec, type DriverErrorShape, type DriverPlan } from '#provisioning/core';
import type { StepTemplate } from '../options.js';

export const DRIVER = 'manual';

export interface ManualClusterRow {
  cluster_ref: string;
  spec: ClusterSpec | null;
  serial: number;
  managed: boolean;
}
export type WorkKind = 'build' | 'change' | 'remove';
export interface OperationRow {
  operation_id: string;
  cluster_ref: string;
  kind: WorkKind;
  input_hash: string;
  spec: ClusterSpec;
  state: 'open' | 'done' | 'refused' | 'cancelled';
  site_plan: DriverPlan | null;
  site_tries: number;
  outcome: unknown;
  error: DriverErrorShape | null;
  created_at: Date;
  ended_at: Date | null;
}
export interface EvidenceItem {
  readonly text: string;
  readonly url: string | null;
  readonly by: string;
  /** RFC 3339, business time. */
  readonly at: string;
}
export interface ManualStepRow {
  step_id: string;
  operation_id: string;
  step_no: number;
  name: string;
  asks: string;
  owner: string;
  needs_evidence: boolean;
  eta: Date;
  evidence: EvidenceItem[];
  state: 'open' | 'done' | 'refused';
  signed_by: string | null;
  signed_at: Date | null;
  note: string | null;
}

export async function fence(db: Database, clusterRef: string, token: number): Promise<void> {
  await db.ops(async (tx) => {
    const [row] = await tx.query<{ token: string }>('select token from driver_fences where driver = $1 and cluster_ref = $2 for update', [
      DRIVER,
      clusterRef,
    ]);
    const highest = assertFence(Number(row?.token ?? 0), token);
    await tx.query(
      `insert into driver_fences (driver, cluster_ref, token) values ($1, $2, $3)
       on conflict (driver, cluster_ref) do update set token = greatest(driver_fences.token, excluded.token)`,
      [DRIVER, clusterRef, highest],
    );
  });
}

export async function clusterOf(tx: Tx, clusterRef: string): Promise<ManualClusterRow | undefined> {
  const [row] = await tx.query<ManualClusterRow>('select * from manual_clusters where cluster_ref = $1', [clusterRef]);
  return row;
}

/** A state that was handed over, or removed: the serial grows with each. */
export async function recordCluster(tx: Tx, clusterRef: string, spec: ClusterSpec | null, now: Date): Promise<number> {
  const [row] = await tx.query<{ serial: number }>(
    `insert into manual_clusters (cluster_ref, spec, serial, updated_at) values ($1, $2, 1, $3)
     on conflict (cluster_ref) do update set spec = excluded.spec, serial = manual_clusters.serial + 1, updated_at = excluded.updated_at
     returning serial`,
    [clusterRef, spec && JSON.stringify(spec), now],
  );
  return row!.serial;
}

export async function operationOf(tx: Tx, operationId: string, lock = false): Promise<OperationRow | undefined> {
  const [row] = await tx.query<OperationRow>(`select * from manual_operations where operation_id = $1${lock ? ' for update' : ''}`, [
    operationId,
  ]);
  return row;
}

export const openOn = (tx: Tx, clusterRef: string): Promise<OperationRow[]> =>
  tx.query<OperationRow>(`select * from manual_operations where cluster_ref = $1 and state = 'open' for update`, [clusterRef]);

export const stepsOf = (tx: Tx, operationId: string): Promise<ManualStepRow[]> =>
  tx.query<ManualStepRow>('select * from manual_steps where operation_id = $1 order by step_no', [operationId]);

/**
 * Opens the work with its steps. What people have signed for the same thing before, in work that did not come to its end, stays signed:
 * nobody racks the same machine twice.
 */
export async function openOperation(
  tx: Tx,
  op: Pick<OperationRow, 'operation_id' | 'cluster_ref' | 'kind' | 'input_hash' | 'spec'>,
  templates: readonly StepTemplate[],
  now: Date,
): Promise<void> {
  const [before] = await tx.query<OperationRow>(
    `select * from manual_operations where cluster_ref = $1 and kind = $2 and spec = $3::jsonb and state in ('cancelled', 'refused')
        and not exists (select 1 from manual_operations later where later.cluster_ref = $1 and later.state = 'done' and later.created_at > manual_operations.created_at)
      order by created_at desc, operation_id desc limit 1`,
    [op.cluster_ref, op.kind, JSON.stringify(op.spec)],
  );
  const signed = new Map(before ? (await stepsOf(tx, before.operation_id)).map((s) => [s.name, s]) : []);
  await tx.query(
    `insert into manual_operations (operation_id, cluster_ref, kind, input_hash, spec, state, created_at) values ($1, $2, $3, $4, $5, 'open', $6)`,
    [op.operation_id, op.cluster_ref, op.kind, op.input_hash, JSON.stringify(op.spec), now],
  );
  let eta = now.getTime();
  for (const [i, t] of templates.entries()) {
    const kept = signed.get(t.name);
    const done = kept?.state === 'done' ? kept : null;
    if (!done) eta += t.leadHours * 3_600_000;
    await tx.query(
      `insert into manual_steps (step_id, operation_id, step_no, name, asks, owner, needs_evidence, eta, evidence, state, signed_by, signed_at, note)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
      [
        uuidv7(),
        op.operation_id,
        i + 1,
        t.name,
        t.asks,
        t.owner,
        t.needsEvidence,
        done?.eta ?? new Date(eta),
        JSON.stringify(kept?.evidence ?? []),
        done ? 'done' : 'open',
        done?.signed_by ?? null,
        done?.signed_at ?? null,
        done?.note ?? null,
      ],
    );
  }
}

export async function endOperation(
  tx: Tx,
  operationId: string,
  end: { state: 'done' | 'refused' | 'cancelled'; outcome?: unknown; error?: DriverErrorShape },
  now: Date,
): Promise<void> {
  await tx.query(
    `update manual_operations set state = $2, outcome = $3, error = $4, ended_at = $5 where operation_id = $1 and state = 'open'`,
    [
      operationId,
      end.state,
      end.outcome === undefined ? null : JSON.stringify(end.outcome),
      end.error ? JSON.stringify(end.error) : null,
      now,
    ],
  );
}
