/** What the API shows of operations; as `read-models.ts`. */
import { ProblemError, type Tx } from '#platform';
import type { OperationKind, OperationState } from '../domain/operation-kinds.js';
import type { LogLine, OperationRow, StepRow, StoredError } from '../infra/rows.js';
import { page, type Page, type Paging } from './paging.js';

export interface OperationView {
  readonly operationId: string;
  readonly tenantId: string | null;
  readonly kind: OperationKind;
  readonly subjectKind: 'cluster' | 'placement';
  readonly subjectId: string;
  readonly clusterId: string;
  readonly subscriptionId: string | null;
  readonly phase: string;
  readonly step: number;
  readonly steps: number;
  readonly awaited: string | null;
  readonly state: OperationState;
  readonly log: readonly LogLine[];
  readonly error: StoredError | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly finishedAt: Date | null;
}

export interface StepView {
  readonly stepNo: number;
  readonly stepId: string;
  readonly name: string;
  readonly state: StepRow['state'];
  readonly attempts: number;
  readonly intentAt: Date;
  readonly outcomeAt: Date | null;
  readonly outcome: unknown;
}

export function listOperations(
  tx: Tx,
  paging: Paging,
  filter: { tenantId?: string; subscriptionId?: string; subjectId?: string; clusterId?: string; state?: OperationState } = {},
): Promise<Page<OperationView>> {
  const where: [string, unknown][] = [
    ['tenant_id = ', filter.tenantId],
    ['subscription_id = ', filter.subscriptionId],
    ['subject_id = ', filter.subjectId],
    ['cluster_id = ', filter.clusterId],
    ['state = ', filter.state],
  ];
  return page<OperationRow, OperationView>(
    tx,
    { from: 'operations', id: 'operation_id', where },
    paging,
    operationView,
    (r) => r.operation_id,
  );
}

export async function getOperation(tx: Tx, operationId: string): Promise<OperationView> {
  const [row] = await tx.query<OperationRow>('select * from operations where operation_id = $1', [operationId]);
  if (!row) throw new ProblemError('not_found', 'operation.unknown', `There is no operation ${operationId}.`);
  return operationView(row);
}

/** Operators only. */
export async function listSteps(tx: Tx, operationId: string): Promise<StepView[]> {
  const rows = await tx.query<StepRow>('select * from operation_steps where operation_id = $1 order by step_no', [operationId]);
  return rows.map((r) => ({
    stepNo: r.step_no,
    stepId: r.step_id,
    name: r.name,
    state: r.state,
    attempts: r.attempts,
    intentAt: r.intent_at,
    outcomeAt: r.outcome_at,
    outcome: r.outcome,
  }));
}

const operationView = (r: OperationRow): OperationView => ({
  operationId: r.operation_id,
  tenantId: r.tenant_id,
  kind: r.kind,
  subjectKind: r.subject_kind,
  subjectId: r.subject_id,
  clusterId: r.cluster_id,
  subscriptionId: r.subscription_id,
  phase: r.phase,
  step: r.step,
  steps: r.steps,
  awaited: r.awaited,
  state: r.state,
  log: r.log,
  error: r.error,
  createdAt: r.created_at,
  updatedAt: r.updated_at,
  finishedAt: r.finished_at,
});
