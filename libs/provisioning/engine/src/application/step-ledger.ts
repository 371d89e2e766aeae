import { realNow, RunAgainAt, uuidv7, type Tx } from '#platform';
import { toDriverError, type ClusterObservation, type DriverErrorShape, type DriverResult } from '#provisioning/core';
import { reactionTo } from '../domain/retry.js';
import { noteProgress } from '../infra/operations.js';
import { updateCluster, type ClusterRow, type StepRow } from '../infra/rows.js';
import { driverOf, stepTimeoutOf, type EngineContext } from './context.js';
import { stoppedBy, stopWanted } from './cancel-operation.js';
import { DriverCalls } from './driver-calls.js';
import { Fenced, type Lease } from './lease.js';
import { AtWork, Replan, StopForPerson, type OpenStep, type Step } from './step.js';

/** Intent before, outcome after (contract provisioning §4.3). An intent without an outcome is looked at before it is asked again. */
export class StepLedger {
  /** Steps that this process has asked itself; of all others the outcome is unknown. */
  private readonly asked = new Set<string>();
  private readonly calls: DriverCalls;

  constructor(private readonly ctx: EngineContext) {
    this.calls = new DriverCalls(ctx);
  }

  async run<T>(lease: Lease, step: Step<T>): Promise<void> {
    const open = await this.open(lease, step);
    const id = open.row.step_id;
    if (step.changes && !this.asked.has(id) && open.row.attempts > 0) {
      const observation = await this.observe(open, lease);
      const output = step.seen?.(observation, open.row.intent);
      // What every start after a kill does: nobody has to act on it.
      this.ctx.logger.info(
        {
          cluster: open.ref,
          step: step.name,
          stepId: id,
          exists: observation.exists,
          serial: observation.stateSerial,
          seen: output !== undefined,
        },
        'an intent without an outcome was looked at',
      );
      if (output !== undefined) return this.commit(lease, step, open, output, { seen: true });
    }
    const patience = performance.now() + this.ctx.times.patienceMs;
    let told = false;
    for (;;) {
      const result = await this.ask(lease, step, open);
      if (result.phase === 'succeeded') return this.commit(lease, step, open, result.output as T, step.record?.(result.output as T) ?? {});
      if (result.phase !== 'running')
        return this.refused(
          lease,
          step,
          open,
          result.error ?? { class: 'conflict', code: 'operation.cancelled', detail: 'The driver stopped the work.' },
        );
      const stop = await this.progress(lease, step, open, result);
      if (stop && !told) {
        told = true;
        await this.cancel(lease, open, result.handle);
        continue;
      }
      if (realNow() > open.deadline) return this.timedOut(lease, step, open, result.handle);
      const wait = result.retryAfterMs ?? 200;
      if (performance.now() + wait > patience)
        throw new AtWork(new Date(this.ctx.clock.now().getTime() + Math.max(wait, 200)), step.awaited);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  /** A step of the operation was asked of its driver and has no outcome yet: the driver has to be told before anything stops. */
  async isAsked(cluster: Pick<ClusterRow, 'recorded'>): Promise<boolean> {
    const rows = await this.ctx.db.ops((tx) =>
      tx.query('select 1 from operation_steps where operation_id = $1 and outcome_at is null and attempts > 0', [
        cluster.recorded.operationId ?? null,
      ]),
    );
    return rows.length > 0;
  }

  /** What is still open in the ledger of the operation that ends. */
  async abandon(tx: Tx, cluster: Pick<ClusterRow, 'recorded'>, error: DriverErrorShape): Promise<void> {
    const open = await tx.query<StepRow>('select * from operation_steps where operation_id = $1 and outcome_at is null', [
      cluster.recorded.operationId ?? null,
    ]);
    for (const row of open) await this.close(tx, row, 'abandoned', error);
  }

  /** Read-only and unfenced; safe at any time. */
  observeCluster(cluster: Parameters<DriverCalls['observe']>[0]): Promise<ClusterObservation> {
    return this.calls.observe(cluster);
  }

  private observe(open: OpenStep, lease: Lease): Promise<ClusterObservation> {
    return this.calls.observe({
      name: open.ref,
      driver: open.driver.capabilities().driver,
      generation: String(open.generation),
      fence: String(lease.fence),
    });
  }

  /** The open step of this name, or a new one; committed before anything is called. */
  private open<T>(lease: Lease, step: Step<T>): Promise<OpenStep> {
    return lease.write(async (tx, cluster) => {
      const operationId = cluster.recorded.operationId;
      if (!operationId) throw new Error(`cluster ${cluster.name} has no operation to keep a ledger in`);
      const now = this.ctx.clock.now();
      const [last] = await tx.query<StepRow>('select * from operation_steps where operation_id = $1 order by step_no desc limit 1', [
        operationId,
      ]);
      let row = last && !last.outcome_at && last.name === step.name ? last : undefined;
      if (last && !last.outcome_at && !row) await this.close(tx, last, 'abandoned', { reason: `overtaken by ${step.name}` });
      // A step of an earlier process gets time anew: its deadline ran while nobody was there.
      const driver = driverOf(this.ctx, cluster.driver);
      const deadline =
        row && this.asked.has(row.step_id)
          ? new Date(row.intent['deadline'] as string)
          : new Date(realNow().getTime() + stepTimeoutOf(this.ctx, driver, step.name));
      if (!row) {
        const stepId = uuidv7();
        const intent = {
          ...(await step.intent(tx, cluster, stepId)),
          generation: Number(cluster.generation),
          deadline: deadline.toISOString(),
        };
        [row] = await tx.query<StepRow>(
          `insert into operation_steps (operation_id, step_no, step_id, name, intent_at, intent, attempts, state) values ($1, $2, $3, $4, $5, $6, $7, 'intent') returning *`,
          // Tries add up over renewed steps, or a conflict that stays would never reach a person.
          [
            operationId,
            (last?.step_no ?? 0) + 1,
            stepId,
            step.name,
            now,
            JSON.stringify(intent),
            last?.name === step.name && last.state === 'abandoned' ? last.attempts : 0,
          ],
        );
      }
      await noteProgress(tx, now, cluster.cluster_id, {
        phase: cluster.phase,
        awaited: step.awaited,
        message: `Step ${step.name} begins.`,
        step: step.name,
      });
      return { row: row!, generation: Number(row!.intent['generation']), ref: cluster.name, driver, deadline };
    });
  }

  private async ask<T>(lease: Lease, step: Step<T>, open: OpenStep): Promise<DriverResult<T>> {
    if (!this.asked.has(open.row.step_id)) {
      // Counted before the call: a crash inside it leaves a step that is known to have been asked.
      await lease.write((tx) =>
        tx.query('update operation_steps set attempts = attempts + 1, intent = intent || $3 where operation_id = $1 and step_no = $2', [
          open.row.operation_id,
          open.row.step_no,
          JSON.stringify({ deadline: open.deadline.toISOString() }),
        ]),
      );
      open.row.attempts += 1;
      this.asked.add(open.row.step_id);
    }
    try {
      const { deadline, generation } = open;
      const call = { operationId: open.row.step_id, clusterRef: open.ref, generation, deadline, fencingToken: lease.fence };
      return await this.calls.timed(step.ask(open.driver, call, open.row.intent));
    } catch (thrown) {
      return { handle: open.row.step_id, phase: 'failed', progress: [], error: toDriverError(thrown).toShape() };
    }
  }

  private async commit<T>(lease: Lease, step: Step<T>, open: OpenStep, output: T, kept: unknown): Promise<void> {
    await lease.write(async (tx, cluster) => {
      await this.close(tx, open.row, 'ok', kept);
      await step.done(tx, cluster, output, open.row.intent);
    });
    this.asked.delete(open.row.step_id);
  }

  private async refused<T>(lease: Lease, step: Step<T>, open: OpenStep, error: DriverErrorShape): Promise<never> {
    const { retry } = this.ctx;
    const reaction = reactionTo(error, step.name, open.row.attempts, retry, Math.random());
    this.ctx.logger.warn(
      { cluster: open.ref, step: step.name, code: error.code, class: error.class, reaction: reaction.do, attempt: open.row.attempts },
      'a driver call failed',
    );
    this.asked.delete(open.row.step_id);
    await this.stopIfWanted(lease, step, open, error);
    const note =
      (awaited: string) =>
      async (tx: Tx, cluster: ClusterRow): Promise<void> =>
        noteProgress(tx, this.ctx.clock.now(), cluster.cluster_id, {
          phase: cluster.phase,
          awaited,
          message: `Step ${step.name}: ${error.code}.`,
          detail: error.detail,
          step: step.name,
          failed: true,
        });
    switch (reaction.do) {
      case 'yield':
        throw new Fenced(lease.clusterId);
      case 'repeat':
        this.asked.add(open.row.step_id); // a refusal to take the call: nothing has happened that must be looked at
        await lease.write(async (tx, cluster) => {
          await tx.query('update operation_steps set attempts = attempts + 1 where operation_id = $1 and step_no = $2', [
            open.row.operation_id,
            open.row.step_no,
          ]);
          await note('a busy driver')(tx, cluster);
        });
        throw this.later(reaction.delayMs, error.code);
      case 'observe':
        await lease.write(async (tx, cluster) => {
          await tx.query(`update operation_steps set state = 'unknown' where operation_id = $1 and step_no = $2`, [
            open.row.operation_id,
            open.row.step_no,
          ]);
          await note('a look at what has happened')(tx, cluster);
        });
        throw this.later(reaction.delayMs, error.code);
      case 'regenerate': {
        const observation = await this.observe(open, lease);
        await lease.write(async (tx, cluster) => {
          await this.close(tx, open.row, 'abandoned', error);
          const ahead = Math.max(Number(cluster.generation), (observation.observedGeneration ?? 0) + 1);
          await updateCluster(tx, cluster.cluster_id, { generation: String(ahead) }, this.ctx.clock.now());
        });
        throw this.later(0, error.code);
      }
      case 'renew':
        await lease.write(async (tx, cluster) => {
          await this.close(tx, open.row, 'abandoned', error);
          await note('another try')(tx, cluster);
        });
        throw this.later(reaction.delayMs, error.code);
      case 'replan':
        await lease.write((tx) => this.close(tx, open.row, 'refused', error));
        throw new Replan(error.code);
      case 'stop':
        await lease.write((tx) => this.close(tx, open.row, error.class === 'unknown' ? 'abandoned' : 'refused', error));
        throw new StopForPerson(error, step.name);
    }
  }

  private async timedOut<T>(lease: Lease, step: Step<T>, open: OpenStep, handle: string): Promise<never> {
    await this.cancel(lease, open, handle);
    const error: DriverErrorShape = {
      class: 'unknown',
      code: 'step.timed_out',
      detail: `Step ${step.name} did not end in time. What is done was not undone.`,
    };
    await lease.write((tx) => this.close(tx, open.row, 'abandoned', error));
    this.asked.delete(open.row.step_id);
    throw new StopForPerson(error, step.name);
  }

  /** Cooperative: the driver stops before its next step. One that cannot goes on to the end of what it does. */
  private async cancel(lease: Lease, open: OpenStep, handle: string): Promise<void> {
    const call = this.calls.look({ name: open.ref, generation: open.generation, fence: lease.fence });
    if (open.driver.capabilities().cancel) await this.calls.timed(open.driver.cancel(call, handle)).catch(() => undefined);
  }

  /** A step that did not succeed is not tried again once somebody wants the operation stopped. */
  private async stopIfWanted<T>(lease: Lease, step: Step<T>, open: OpenStep, error: DriverErrorShape): Promise<void> {
    if (error.code === 'driver.fenced') return;
    const stopped = await lease.write(async (tx, cluster) => {
      if (!stopWanted(cluster)) return undefined;
      await this.close(tx, open.row, 'abandoned', error);
      return stoppedBy(cluster);
    });
    if (stopped) throw new StopForPerson(stopped, step.name);
  }

  /** Shows where things stand; answers whether somebody wants the operation stopped. */
  private async progress<T>(lease: Lease, step: Step<T>, open: OpenStep, result: DriverResult<T>): Promise<boolean> {
    const at = result.progress.findLast((p) => p.state === 'running' || p.state === 'done');
    return lease.write(async (tx, cluster) => {
      if (cluster.handle !== result.handle) await updateCluster(tx, cluster.cluster_id, { handle: result.handle }, this.ctx.clock.now());
      const detail = at ? `${at.step}: ${at.detail ?? at.state}` : undefined;
      await noteProgress(tx, this.ctx.clock.now(), cluster.cluster_id, { phase: cluster.phase, awaited: step.awaited, detail });
      return stopWanted(cluster);
    });
  }

  /** Ends a step; sealed arguments are not kept longer than the step is open. */
  private async close(tx: Tx, row: StepRow, state: 'ok' | 'refused' | 'abandoned', outcome: unknown): Promise<void> {
    await tx.query(
      `update operation_steps set state = $3, outcome = $4, outcome_at = $5, intent = intent - 'sealed' where operation_id = $1 and step_no = $2 and outcome_at is null`,
      [row.operation_id, row.step_no, state, JSON.stringify(outcome ?? null), this.ctx.clock.now()],
    );
  }

  private later(ms: number, reason: string): RunAgainAt {
    return new RunAgainAt(new Date(this.ctx.clock.now().getTime() + ms), reason);
  }
}
