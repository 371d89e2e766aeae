import type { Clock } from '../clock.js';
import type { Database, Tx } from '../db/database.js';
import type { Logger } from '../logging.js';
import { errorText } from '../problem.js';
import { Claims, type ClaimedTask } from './claims.js';
import { ClockLoop } from './clock-loop.js';
import type { Nudger } from './nudger.js';
import type { Pressure } from './pressure.js';
import { PermanentTaskError, RunAgainAt, type TaskContext, type TaskHandler } from './task-handler.js';
import type { ParkedTask } from './tasks.js';

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
  private readonly claims: Claims;
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
    this.claims = new Claims(db, clock);
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
    await this.claims.endLeases();
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
        if (!(await this.claims.anyHeld([...this.handlers.keys()]))) return worked;
        await new Promise((r) => setTimeout(r, 50));
      } else {
        worked = true;
      }
    }
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
          const claimed = await this.claims.claim(hands, this.options.leaseMs, [...this.handlers.keys()]);
          if (claimed.length === 0) break;
          // Told to stop while the claim was on its way: nothing is begun any more, another worker may have them at once.
          if (this.stopping) return await this.claims.giveBack(claimed);
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

  private launch(task: ClaimedTask): void {
    const run: Promise<void> = this.execute(task).finally(() => {
      this.running.delete(run);
      this.finished += 1;
      void this.pump(); // the lane's next task may be free now
    });
    this.running.add(run);
  }

  private async execute(task: ClaimedTask): Promise<void> {
    let completed = false;
    const context: TaskContext = {
      taskId: task.task_id,
      lane: task.lane,
      attempt: task.attempts,
      completeIn: async (tx) => {
        await this.claims.finish(tx, task);
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
      if (!completed) await this.db.ops((tx) => this.claims.finish(tx, task));
    } catch (error) {
      if (completed) return;
      await this.failed(task, error).catch((e: unknown) =>
        this.logger.error({ err: errorText(e), task: task.task_id }, 'a failed task could not be recorded; its lease will run out'),
      );
    }
  }

  private async failed(task: ClaimedTask, error: unknown): Promise<void> {
    const now = this.clock.now();
    if (error instanceof RunAgainAt) {
      await this.claims.reschedule(task, error.at, error.reason, true);
      return;
    }
    const text = errorText(error).slice(0, 2_000);
    if (error instanceof PermanentTaskError || task.attempts >= this.options.maxAttempts) {
      await this.db.ops(async (tx) => {
        if (!(await this.claims.park(tx, task, text))) return; // another worker has it now: its outcome counts
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
    await this.claims.reschedule(task, new Date(now.getTime() + delay), text, false);
  }
}
