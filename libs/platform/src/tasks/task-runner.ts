import { realNow, type Clock } from '../clock.js';
import type { Database, Tx } from '../db/database.js';
import type { Logger } from '../logging.js';
import { errorText } from '../problem.js';
import { CLAIM, CLAIM_ALONE } from './claim.js';
import { ClockLoop } from './clock-loop.js';
import type { Nudger } from './nudger.js';
import type { Pressure } from './pressure.js';
import type { ParkedTask, PayloadRef } from './tasks.js';

export interface TaskContext {
  readonly taskId: string;
  readonly lane: string;
  /** 1 on the first run. */
  readonly attempt: number;
  /** Marks the task done inside the handler's own transaction, so that effect and completion commit together. */
  completeIn(tx: Tx): Promise<void>;
}

/** Run again at a business instant without counting as a failure (an awaited fact is not there yet). */
export class RunAgainAt extends Error {
  constructor(
    readonly at: Date,
    readonly reason: string,
  ) {
    super(`run again at ${at.toISOString()}: ${reason}`);
  }
}

/** Retrying cannot help: the lane parks at once and a person is told. */
export class PermanentTaskError extends Error {}

export type TaskHandler = (payload: PayloadRef, context: TaskContext) => Promise<void>;

interface TaskRow {
  task_id: string;
  lane: string;
  handler: string;
  payload_ref: PayloadRef;
  attempts: number;
  fence: string;
}

export interface TaskRunnerOptions {
  concurrency?: number;
  /** Real milliseconds between polls. */
  pollMs?: number;
  /** Real milliseconds a claim holds; longer than any handler's own time-outs. */
  leaseMs?: number;
  maxAttempts?: number;
  /** Senders who wait in this very process go first. */
  pressure?: Pressure;
  /** Told in the transaction that parks a lane. */
  onParked?: (tx: Tx, task: ParkedTask) => Promise<void>;
}

const MAIN_LOOP = 'main';

/**
 * Claims and runs due tasks. Only the oldest unfinished task of a lane can be claimed; claims are made under one advisory
 * lock, so two workers never run one lane at once; every write after a claim carries its fence.
 */
export class TaskRunner {
  private readonly handlers = new Map<string, TaskHandler>();
  private readonly running = new Set<Promise<void>>();
  private pumping: Promise<void> | undefined;
  private again = false;
  private later: NodeJS.Timeout | undefined;
  private draining = 0;
  private stopped = true;
  private stopping = false;
  /** Tasks that ended and what clocks did, since the start. */
  private finished = 0;
  private readonly options: Required<Omit<TaskRunnerOptions, 'onParked' | 'pressure'>> & Pick<TaskRunnerOptions, 'onParked' | 'pressure'>;

  constructor(
    private readonly db: Database,
    private readonly clock: Clock,
    private readonly nudger: Nudger,
    private readonly logger: Logger,
    options: TaskRunnerOptions = {},
  ) {
    this.options = { concurrency: 6, pollMs: 1_000, leaseMs: 120_000, maxAttempts: 12, ...options };
  }

  /** A second handler of one name is a start-up error. */
  register(name: string, handler: TaskHandler): void {
    if (this.handlers.has(name)) throw new Error(`task handler ${name} is registered twice`);
    this.handlers.set(name, handler);
  }

  private readonly loops = new Map<string, ClockLoop>();
  /**
   * Runs on every poll in business time, for clocks that make tasks (hours to close, timers due), and answers how much it did.
   * Clocks of one loop run one after another; a clock that waits for somebody outside gets a loop of its own.
   */
  addClock(tick: () => Promise<number>, loop = MAIN_LOOP): void {
    this.loop(loop).add(tick);
  }

  async start(): Promise<void> {
    this.stopped = false;
    this.stopping = false;
    await this.nudger.start(() => void this.pump());
    this.loop(MAIN_LOOP);
    for (const loop of this.loops.values()) loop.start(this.options.pollMs, () => void this.pump());
  }

  private loop(name: string): ClockLoop {
    let loop = this.loops.get(name);
    if (!loop) {
      loop = new ClockLoop({
        worked: (made) => {
          this.finished += made;
          if (this.stopped) return;
          // What one clock made another one may have waited for (an hour closed: its record can go).
          for (const other of this.loops.values()) if (other !== loop) void other.run();
          void this.pump();
        },
        failed: (error) => this.logger.error({ err: errorText(error), loop: name }, 'a clock failed; it runs again at the next poll'),
      });
      this.loops.set(name, loop);
    }
    return loop;
  }

  /** Stops claiming, lets running handlers and clocks finish. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.stopping = true;
    clearTimeout(this.later);
    await this.nudger.stop();
    await Promise.all([...this.loops.values()].map((loop) => loop.stop()));
    await this.pumping;
    await Promise.allSettled([...this.running]);
  }

  /**
   * At the start of an installation's only worker: every lease is a dead process's, so its tasks are free at once. With
   * several workers this would break the rule of one runner per lane; there leases run out by themselves.
   */
  async takeOver(): Promise<void> {
    await this.db.ops((tx) => tx.query(`update tasks set lease_until = $1 where state = 'running'`, [new Date(realNow().getTime() - 1)]));
  }

  /** Runs everything that is due now and what follows from it; answers whether there was anything. For settle and tests. */
  async drain(): Promise<boolean> {
    this.draining += 1;
    try {
      return await this.drainAll();
    } finally {
      this.draining -= 1;
    }
  }

  private async drainAll(): Promise<boolean> {
    let worked = false;
    for (;;) {
      const before = this.finished;
      await Promise.all([...this.loops.values()].map((loop) => loop.fresh()));
      await this.pump();
      await Promise.allSettled([...this.running]);
      if (this.finished === before && this.running.size === 0) {
        // Another worker process may hold a due task: it is not settled while that runs.
        if (!(await this.dueElsewhere())) return worked;
        await new Promise((r) => setTimeout(r, 50));
      } else {
        worked = true;
      }
    }
  }

  /** Somebody works on a task, or its lease has just run out and we may take it. */
  private async dueElsewhere(): Promise<boolean> {
    const rows = await this.db.ops((tx) =>
      tx.query(`select 1 from tasks where state = 'running' and (lease_until > $1 or handler = any($2::text[])) limit 1`, [
        realNow(),
        [...this.handlers.keys()],
      ]),
    );
    return rows.length > 0;
  }

  /** Claims until nothing is due or no hand is free. A call during another one makes that one look again, and ends with it. */
  private pump(): Promise<void> {
    if (this.pumping) this.again = true;
    else this.pumping = Promise.resolve().then(() => this.claimAll());
    return this.pumping;
  }

  private async claimAll(): Promise<void> {
    try {
      do {
        this.again = false;
        while (!this.stopping && this.running.size < this.options.concurrency) {
          const hands = this.handsFree();
          if (hands === 0) break;
          const claimed = await this.claim(hands);
          if (claimed.length === 0) break;
          // Told to stop while the claim was on its way: nothing is begun any more, another worker may have them at once.
          if (this.stopping) return await this.giveBack(claimed);
          for (const task of claimed) this.launch(task);
        }
      } while (this.again);
    } catch (error) {
      this.logger.error({ err: errorText(error) }, 'claiming tasks failed; the next poll tries again');
    } finally {
      this.pumping = undefined;
    }
  }

  /** Fewer than are free while senders wait; then it looks again by itself. */
  private handsFree(): number {
    const free = this.options.concurrency - this.running.size;
    // Whoever drains waits for the end of it all.
    if (!this.options.pressure || this.draining > 0) return free;
    const { hands, againMs } = this.options.pressure.allow(free, this.running.size);
    if (againMs !== null)
      this.later ??= setTimeout(() => {
        this.later = undefined;
        if (!this.stopping) void this.pump();
      }, againMs);
    return hands;
  }

  private launch(task: TaskRow): void {
    const run: Promise<void> = this.execute(task).finally(() => {
      this.running.delete(run);
      this.finished += 1;
      void this.pump(); // the lane's next task may be free now
    });
    this.running.add(run);
  }

  private claim(limit: number): Promise<TaskRow[]> {
    return this.db.ops(async (tx) => {
      await tx.query(CLAIM_ALONE);
      return tx.query<TaskRow>(CLAIM, [
        this.clock.now(),
        new Date(realNow().getTime() + this.options.leaseMs),
        realNow(),
        limit,
        [...this.handlers.keys()],
      ]);
    });
  }

  private async giveBack(tasks: TaskRow[]): Promise<void> {
    await this.db.ops(async (tx) => {
      for (const { task_id, fence } of tasks)
        await tx.query(
          `update tasks set state = 'queued', lease_until = null, attempts = attempts - 1 where task_id = $1 and fence = $2 and state = 'running'`,
          [task_id, fence],
        );
    });
  }

  private async execute(task: TaskRow): Promise<void> {
    let completed = false;
    const context: TaskContext = {
      taskId: task.task_id,
      lane: task.lane,
      attempt: task.attempts,
      completeIn: async (tx) => {
        await this.finish(tx, task);
        tx.afterCommit(() => (completed = true));
      },
    };
    try {
      const handler = this.handlers.get(task.handler);
      if (!handler) throw new PermanentTaskError(`no handler is called ${task.handler}`);
      // Every earlier claim ended without an outcome: whoever ran it died of it, and so would we.
      if (task.attempts > this.options.maxAttempts)
        throw new PermanentTaskError(`given up after ${task.attempts - 1} runs that never ended`);
      await handler(task.payload_ref, context);
      if (!completed) await this.db.ops((tx) => this.finish(tx, task));
    } catch (error) {
      if (completed) return;
      await this.failed(task, error).catch((e: unknown) =>
        this.logger.error({ err: errorText(e), task: task.task_id }, 'a failed task could not be recorded; its lease will run out'),
      );
    }
  }

  private async finish(tx: Tx, task: TaskRow): Promise<void> {
    const rows = await tx.query(
      `update tasks set state = 'done', finished_at = $3, lease_until = null, last_error = null where task_id = $1 and fence = $2 returning 1`,
      [task.task_id, task.fence, this.clock.now()],
    );
    if (rows.length === 0) throw new Error(`task ${task.task_id} was taken over by another worker`);
  }

  private async failed(task: TaskRow, error: unknown): Promise<void> {
    const now = this.clock.now();
    if (error instanceof RunAgainAt) {
      await this.reschedule(task, error.at, error.reason, true);
      return;
    }
    const text = errorText(error).slice(0, 2_000);
    if (error instanceof PermanentTaskError || task.attempts >= this.options.maxAttempts) {
      await this.db.ops(async (tx) => {
        const mine = await tx.query(
          `update tasks set state = 'parked', lease_until = null, last_error = $3 where task_id = $1 and fence = $2 returning 1`,
          [task.task_id, task.fence, text],
        );
        if (mine.length === 0) return; // another worker has it now: its outcome counts
        this.logger.error({ task: task.task_id, lane: task.lane, handler: task.handler, err: text }, 'lane parked');
        await this.options.onParked?.(tx, {
          taskId: task.task_id,
          lane: task.lane,
          handler: task.handler,
          error: text,
          fence: task.fence,
        });
      });
      return;
    }
    // Capped exponential back-off with full jitter: a fleet that failed together must not return together.
    const cap = Math.min(300_000, 500 * 2 ** task.attempts);
    const delay = Math.round(cap / 4 + Math.random() * cap);
    this.logger.warn(
      { task: task.task_id, handler: task.handler, attempt: task.attempts, retryInMs: delay, err: text },
      'task failed; it will be retried',
    );
    await this.reschedule(task, new Date(now.getTime() + delay), text, false);
  }

  private async reschedule(task: TaskRow, at: Date, reason: string, uncounted: boolean): Promise<void> {
    await this.db.ops((tx) =>
      tx.query(
        `update tasks set state = 'queued', next_run_at = $3, lease_until = null, last_error = $4, attempts = attempts - $5 where task_id = $1 and fence = $2`,
        [task.task_id, task.fence, at, reason, uncounted ? 1 : 0],
      ),
    );
  }
}
