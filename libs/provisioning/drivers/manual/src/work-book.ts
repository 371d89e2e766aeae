/**
 * One piece of people's work for one operation id, however often it is asked for and by whichever process: its state is in Postgres
 * and nowhere else. Asking again is polling; nothing runs in between.
 */
import type { Clock, Database } from '#platform';
import {
  canonicalJson,
  DriverError,
  sha256Hex,
  type ClusterSpec,
  type DriverCall,
  type DriverErrorShape,
  type DriverResult,
  type ProgressStep,
} from '#provisioning/core';
import {
  endOperation,
  fence,
  openOn,
  openOperation,
  operationOf,
  stepsOf,
  type ManualStepRow,
  type OperationRow,
  type WorkKind,
} from './infra/rows.js';
import type { StepTemplate } from './options.js';

export interface Work<T> {
  /** Of the port: what the call was, whatever was built since. */
  readonly method: 'apply' | 'delete';
  readonly kind: WorkKind;
  readonly spec: ClusterSpec;
  readonly input: unknown;
  readonly steps: readonly StepTemplate[];
  /** Before anything is opened; throws a refusal. */
  readonly refuse: () => Promise<void> | void;
  /** When the people are through: asked again until it answers. `output` ends the work; an `error` does, when `final`. */
  readonly finish: (
    op: OperationRow,
  ) => Promise<{ readonly output: T } | { readonly error: DriverErrorShape; readonly final: boolean } | 'running'>;
}

export class WorkBook {
  constructor(
    private readonly db: Database,
    private readonly clock: Clock,
    private readonly lookEveryMs: number,
  ) {}

  fence(call: DriverCall): Promise<void> {
    return fence(this.db, call.clusterRef, call.fencingToken);
  }

  async run<T>(call: DriverCall, work: Work<T>): Promise<DriverResult<T>> {
    const hash = sha256Hex(canonicalJson([call.clusterRef, work.method, work.input]));
    const known = await this.db.ops((tx) => operationOf(tx, call.operationId));
    if (known && known.input_hash !== hash)
      throw new DriverError('conflict', 'driver.operation_reused', `Operation ${call.operationId} was another call.`);
    if (!known) {
      await work.refuse();
      await this.open(call, work, hash);
    }
    return this.look(call.operationId, work);
  }

  known(operationId: string): Promise<OperationRow | undefined> {
    return this.db.ops((tx) => operationOf(tx, operationId));
  }

  /** What is signed stays signed; the engine's next try takes it up. */
  async cancel(call: DriverCall, handle: string): Promise<DriverResult> {
    await this.fence(call);
    await this.db.ops(async (tx) => {
      const op = await operationOf(tx, handle, true);
      if (!op || op.cluster_ref !== call.clusterRef)
        throw new DriverError('validation', 'operation.not_found', `No operation has the handle ${handle}.`);
      const error = { class: 'conflict', code: 'operation.cancelled', detail: 'The work was called off.' } as const;
      await endOperation(tx, handle, { state: 'cancelled', error }, this.clock.now());
    });
    return this.answer<undefined>(handle);
  }

  /** Called off because other work takes its place. */
  async supersede(clusterRef: string): Promise<void> {
    await this.db.ops(async (tx) => {
      const error = { class: 'conflict', code: 'operation.cancelled', detail: 'The cluster is taken down instead.' } as const;
      for (const op of await openOn(tx, clusterRef))
        if (op.kind !== 'remove') await endOperation(tx, op.operation_id, { state: 'cancelled', error }, this.clock.now());
    });
  }

  private async open<T>(call: DriverCall, work: Work<T>, hash: string): Promise<void> {
    await this.db.ops(async (tx) => {
      // One at a time: two askers of one id must not open two, and other work on the cluster comes first.
      await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`manual:${call.clusterRef}`]);
      if (await operationOf(tx, call.operationId)) return;
      const [other] = await openOn(tx, call.clusterRef);
      if (other) throw new DriverError('throttled', 'manual.busy', `People are at work on ${call.clusterRef} already (${other.kind}).`);
      const op = { operation_id: call.operationId, cluster_ref: call.clusterRef, kind: work.kind, input_hash: hash, spec: work.spec };
      await openOperation(tx, op, work.steps, this.clock.now());
    });
  }

  private async look<T>(operationId: string, work: Work<T>): Promise<DriverResult<T>> {
    const { op, steps } = await this.read(operationId);
    const refused = steps.find((s) => s.state === 'refused');
    if (op.state === 'open' && refused) {
      const detail = `${refused.signed_by ?? 'Somebody'} refused the step ${refused.name}: ${refused.note ?? ''}`;
      const error = { class: 'permission', code: 'manual.refused', detail } as const;
      await this.db.ops((tx) => endOperation(tx, operationId, { state: 'refused', error }, this.clock.now()));
    } else if (op.state === 'open' && steps.every((s) => s.state === 'done')) {
      const end = await work.finish(op);
      if (end !== 'running' && 'output' in end)
        await this.db.ops((tx) => endOperation(tx, operationId, { state: 'done', outcome: end.output }, this.clock.now()));
      else if (end !== 'running') {
        if (end.final) await this.db.ops((tx) => endOperation(tx, operationId, { state: 'refused', error: end.error }, this.clock.now()));
        else return { handle: operationId, phase: 'failed', progress: progressOf(steps), error: end.error };
      }
    }
    return this.answer<T>(operationId);
  }

  private async read(operationId: string): Promise<{ op: OperationRow; steps: ManualStepRow[] }> {
    return this.db.ops(async (tx) => ({ op: (await operationOf(tx, operationId))!, steps: await stepsOf(tx, operationId) }));
  }

  private async answer<T>(operationId: string): Promise<DriverResult<T>> {
    const { op, steps } = await this.read(operationId);
    const base = { handle: operationId, progress: progressOf(steps) };
    if (op.state === 'done') return { ...base, phase: 'succeeded', output: op.outcome as T };
    if (op.state === 'cancelled') return { ...base, phase: 'cancelled', ...(op.error ? { error: op.error } : {}) };
    if (op.state === 'refused') return { ...base, phase: 'failed', error: op.error! };
    const waits = steps.some((s) => s.state === 'open');
    return { ...base, phase: 'running', retryAfterMs: waits ? this.lookEveryMs : 200 };
  }
}

/** Signed, at work, or to come. */
function progressOf(steps: readonly ManualStepRow[]): ProgressStep[] {
  const next = steps.find((s) => s.state === 'open');
  return steps.map((s) => ({
    step: s.name,
    state: s.state === 'done' ? 'done' : s.state === 'refused' ? 'failed' : s === next ? 'running' : 'pending',
    at: (s.signed_at ?? s.eta).toISOString(),
    detail: s.signed_by ? `signed by ${s.signed_by}` : `${s.owner}, expected by ${s.eta.toISOString()}`,
  }));
}
