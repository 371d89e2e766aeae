/** What people do with the steps: look, say when, show, sign. Each in the caller's transaction; the person comes from the credential. */
import { ProblemError, type Clock, type Tx } from '#platform';
import type { ManualStepRow, OperationRow, WorkKind } from './infra/rows.js';

export interface ManualStepView extends ManualStepRow {
  cluster_ref: string;
  kind: WorkKind;
  operation_state: OperationRow['state'];
}

const VIEW = `select s.*, o.cluster_ref, o.kind, o.state as operation_state from manual_steps s join manual_operations o using (operation_id)`;

export class ManualWork {
  constructor(private readonly clock: Clock) {}

  /** Open work first by its ETA; `all`: what is over, too. */
  list(tx: Tx, filter: { clusterRef?: string | undefined; all?: boolean | undefined }): Promise<ManualStepView[]> {
    return tx.query<ManualStepView>(
      `${VIEW} where ($1::text is null or o.cluster_ref = $1) and ($2 or (o.state = 'open' and s.state = 'open'))
        order by s.state = 'open' desc, s.eta, o.cluster_ref, s.step_no limit 500`,
      [filter.clusterRef ?? null, filter.all ?? false],
    );
  }

  async get(tx: Tx, stepId: string): Promise<ManualStepView> {
    const [row] = await tx.query<ManualStepView>(`${VIEW} where s.step_id = $1`, [stepId]);
    if (!row) throw new ProblemError('not_found', 'manual_step.unknown', `There is no step ${stepId}.`);
    return row;
  }

  /** When it will be through; steps after it move by as much. */
  async setEta(tx: Tx, stepId: string, eta: Date): Promise<ManualStepView> {
    const step = await this.open(tx, stepId);
    const byMs = eta.getTime() - step.eta.getTime();
    await tx.query(
      `update manual_steps set eta = eta + $3 * interval '1 millisecond' where operation_id = $1 and step_no >= $2 and state = 'open'`,
      [step.operation_id, step.step_no, byMs],
    );
    return this.get(tx, stepId);
  }

  /** Kept for good: nothing that was shown is taken back. */
  async attach(tx: Tx, stepId: string, evidence: { text: string; url: string | null; by: string }): Promise<ManualStepView> {
    await this.open(tx, stepId);
    const item = { ...evidence, at: this.clock.now().toISOString() };
    await tx.query('update manual_steps set evidence = evidence || $2::jsonb where step_id = $1', [stepId, JSON.stringify([item])]);
    return this.get(tx, stepId);
  }

  /** Refused: `manual_step.not_due` before the steps ahead of it, `manual_step.evidence_missing`. */
  async signOff(tx: Tx, stepId: string, by: string, note: string | null): Promise<ManualStepView> {
    const step = await this.open(tx, stepId);
    const [ahead] = await tx.query<{ name: string }>(
      `select name from manual_steps where operation_id = $1 and step_no < $2 and state <> 'done' order by step_no limit 1`,
      [step.operation_id, step.step_no],
    );
    if (ahead) throw new ProblemError('conflict', 'manual_step.not_due', `The step ${ahead.name} comes before it and is not signed.`);
    if (step.needs_evidence && step.evidence.length === 0)
      throw new ProblemError(
        'unprocessable',
        'manual_step.evidence_missing',
        `Nothing shows that ${step.name} was done; attach evidence first.`,
      );
    return this.sign(tx, stepId, 'done', by, note);
  }

  /** It cannot be done: the work ends, and a person decides what comes next. */
  async refuse(tx: Tx, stepId: string, by: string, reason: string): Promise<ManualStepView> {
    await this.open(tx, stepId);
    return this.sign(tx, stepId, 'refused', by, reason);
  }

  private async sign(tx: Tx, stepId: string, state: 'done' | 'refused', by: string, note: string | null): Promise<ManualStepView> {
    await tx.query('update manual_steps set state = $2, signed_by = $3, signed_at = $4, note = $5 where step_id = $1', [
      stepId,
      state,
      by,
      this.clock.now(),
      note,
    ]);
    return this.get(tx, stepId);
  }

  /** Locked, and still to be done. */
  private async open(tx: Tx, stepId: string): Promise<ManualStepView> {
    await tx.query(
      'select 1 from manual_operations where operation_id = (select operation_id from manual_steps where step_id = $1) for update',
      [stepId],
    );
    const step = await this.get(tx, stepId);
    if (step.operation_state !== 'open' || step.state !== 'open')
      throw new ProblemError(
        'conflict',
        'manual_step.closed',
        step.state === 'open'
          ? `The work is ${step.operation_state}.`
          : `The step was ${step.state === 'done' ? 'signed' : 'refused'} already.`,
      );
    return step;
  }
}
