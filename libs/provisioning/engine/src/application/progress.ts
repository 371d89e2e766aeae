import type { Tx } from '#platform';
import type { OperationKind, OperationState } from '../domain/operation-kinds.js';
import type { StepName } from '../domain/retry.js';
import type { LogLine, OperationRow, StoredError } from '../infra/rows.js';
import { placementOfSubscription } from './read-models.js';

export interface Progress {
  readonly placementId: string;
  readonly operationId: string;
  readonly kind: OperationKind;
  readonly phase: string;
  readonly step: number;
  readonly steps: number;
  /** The engine's step at work, or the one it stopped at; null before the first. Each has words for the buyer. */
  readonly stepName: StepName | null;
  /** When that step began; before the first the operation itself. */
  readonly since: Date;
  /** A try of this step did not succeed and another follows. */
  readonly retrying: boolean;
  readonly awaited: string | null;
  readonly message: string;
  readonly state: OperationState;
  /** Why it stopped, in the words that a tenant may read. */
  readonly error: StoredError | null;
}

/** What the buyer waits for: until it first serves the provisioning, later the latest wish. */
export async function progress(tx: Tx, subscriptionId: string): Promise<Progress | null> {
  const p = await placementOfSubscription(tx, subscriptionId);
  if (!p) return null;
  const [op] = await tx.query<OperationRow>(
    `select * from operations where subject_id = $1 and ($2 or kind = 'provision') order by operation_id desc limit 1`,
    [p.placementId, p.activatedAt !== null],
  );
  if (!op) return null;
  return {
    placementId: p.placementId,
    operationId: op.operation_id,
    kind: op.kind,
    phase: op.phase,
    step: op.step,
    steps: op.steps,
    ...stepAtWork(op.log, op.created_at),
    awaited: op.awaited,
    message: op.log.at(-1)?.message ?? '',
    state: op.state,
    error: op.error,
  };
}

/** The last step that the log tells of. Its run ends where another step's lines begin: a build that is planned again starts anew. */
export function stepAtWork(log: readonly LogLine[], createdAt: Date): Pick<Progress, 'stepName' | 'since' | 'retrying'> {
  const told = log.filter((line) => line.step !== undefined);
  const last = told.at(-1);
  if (!last?.step) return { stepName: null, since: createdAt, retrying: false };
  const first = told[told.findLastIndex((line) => line.step !== last.step) + 1] ?? last;
  return { stepName: last.step, since: new Date(first.at), retrying: last.failed === true };
}
