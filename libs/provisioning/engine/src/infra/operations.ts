import { uuidv7, type Tx } from '#platform';
import type { ClusterPhase } from '../domain/cluster-states.js';
import { BOOKED, stepOf, stepsOf, type OperationKind } from '../domain/operation-kinds.js';
import type { StepName } from '../domain/retry.js';
import type { LogLine, OperationRow, PlacementRow, StoredError } from './rows.js';

/** Phases in which a wish of a placement is served. */
const WISHES: ReadonlySet<ClusterPhase> = new Set(['configuring', 'validating']);

/** Lines kept per operation; the oldest go first. */
const LOG_LINES = 100;

export async function startOperation(
  tx: Tx,
  now: Date,
  kind: OperationKind,
  on: { clusterId: string; generation: string; placement?: Pick<PlacementRow, 'placement_id' | 'tenant_id' | 'subscription_id'> },
  message: string,
): Promise<string> {
  const id = uuidv7();
  const log: LogLine[] = [{ at: now.toISOString(), phase: 'requested', message }];
  await tx.query(
    `insert into operations (operation_id, tenant_id, kind, subject_kind, subject_id, cluster_id, subscription_id, generation, phase, step, steps, awaited, state, log, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, 'requested', 0, $9, 'its turn', 'running', $10, $11, $11)`,
    [
      id,
      on.placement?.tenant_id ?? null,
      kind,
      on.placement ? 'placement' : 'cluster',
      on.placement?.placement_id ?? on.clusterId,
      on.clusterId,
      on.placement?.subscription_id ?? null,
      on.generation,
      stepsOf(kind),
      JSON.stringify(log),
      now,
    ],
  );
  return id;
}

/** What is at work on the cluster; one that waits for its window is not. */
export function runningOn(tx: Tx, clusterId: string): Promise<OperationRow[]> {
  return tx.query<OperationRow>(
    `select * from operations where cluster_id = $1 and state = 'running' and phase <> $2 order by operation_id for update`,
    [clusterId, BOOKED],
  );
}

/** Where one operation stands, in the engine's own words. */
export async function notePhase(tx: Tx, now: Date, operationId: string, at: { phase: string; awaited: string }): Promise<void> {
  await tx.query(`update operations set phase = $2, awaited = $3, updated_at = $4 where operation_id = $1 and state = 'running'`, [
    operationId,
    at.phase,
    at.awaited,
    now,
  ]);
}

/**
 * Writes where things stand into every running operation of the cluster. A tenant's operations get the engine's own words;
 * `detail` (a driver's words, which may name other tenants) goes to the cluster's operation alone.
 */
export async function noteProgress(
  tx: Tx,
  now: Date,
  clusterId: string,
  at: { phase: ClusterPhase; awaited: string | null; message?: string; detail?: string; step?: StepName; failed?: true },
): Promise<void> {
  for (const op of await runningOn(tx, clusterId)) {
    // It waits for a person; what other wishes do meanwhile is not its progress.
    if (op.subject_kind === 'cluster' && op.phase === 'approval' && WISHES.has(at.phase)) continue;
    const step = Math.max(op.step, stepOf(op.kind, at.phase));
    const lines = [at.message, op.subject_kind === 'cluster' ? at.detail : undefined].filter((m) => m !== undefined);
    const seen = new Set(op.log.filter((l) => l.phase === at.phase).map((l) => l.message));
    const of = { phase: at.phase, ...(at.step ? { step: at.step } : {}), ...(at.failed ? { failed: at.failed } : {}) };
    const fresh = lines.filter((m) => !seen.has(m)).map((message): LogLine => ({ at: now.toISOString(), ...of, message }));
    if (fresh.length === 0 && step === op.step && op.phase === at.phase && op.awaited === at.awaited) continue;
    await tx.query(`update operations set phase = $2, step = $3, awaited = $4, log = $5, updated_at = $6 where operation_id = $1`, [
      op.operation_id,
      at.phase,
      step,
      at.awaited,
      JSON.stringify([...op.log, ...fresh].slice(-LOG_LINES)),
      now,
    ]);
  }
}

/** Ends one operation; `message` is its last line. */
export async function finishOperation(
  tx: Tx,
  now: Date,
  op: Pick<OperationRow, 'operation_id'>,
  state: 'succeeded' | 'failed' | 'cancelled',
  message: string,
  error?: StoredError,
): Promise<void> {
  const line: LogLine = { at: now.toISOString(), phase: state, message };
  await tx.query(
    `update operations set state = $2, phase = $2, step = case when $2 = 'succeeded' then steps else step end, awaited = null, error = $3,
            log = log || $4::jsonb, updated_at = $5, finished_at = $5 where operation_id = $1 and state = 'running'`,
    [op.operation_id, state, error ? JSON.stringify(error) : null, JSON.stringify([line]), now],
  );
}

/** Ends the running operations of one placement that are of these kinds and whose wish is in force. */
export async function finishWishes(
  tx: Tx,
  now: Date,
  placementId: string,
  kinds: readonly OperationKind[],
  state: 'succeeded' | 'failed' | 'cancelled',
  message: string,
  upToGeneration?: bigint,
  error?: StoredError,
): Promise<number> {
  const open = await tx.query<{ operation_id: string }>(
    `select operation_id from operations where subject_id = $1 and state = 'running' and kind = any($2) and ($3::bigint is null or generation <= $3)`,
    [placementId, kinds, upToGeneration?.toString() ?? null],
  );
  for (const op of open) await finishOperation(tx, now, op, state, message, error);
  return open.length;
}
