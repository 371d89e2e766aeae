import { uuidv7 } from '../ids.js';
import type { Clock } from '../clock.js';
import type { Tx } from '../db/database.js';
import type { Nudger } from './nudger.js';

/** What a task carries: ids only, never facts; the handler re-reads the rows. */
export type PayloadRef = Record<string, string | number | null>;

export interface NewTask {
  /** Tasks of one lane (= aggregate, for example `subscription:<uuid>`) run one at a time, oldest first. */
  lane: string;
  handler: string;
  payload: PayloadRef;
  /** Business time; default now. */
  runAt?: Date;
  /** At most one task ever per key: a repeated enqueue is a no-op. */
  dedupeKey?: string;
}

/** Injection token of `Tasks`. */
export const TASKS = Symbol('berth.tasks');

/**
 * The outbox and job queue in one table. Enqueue happens in the transaction of the state change it follows from (law 2);
 * the nudge after commit is a hint only: losing every nudge delays work by one poll, never loses it.
 */
export class Tasks {
  private readonly subscribers = new Map<string, string[]>();

  constructor(
    private readonly clock: Clock,
    private readonly nudger: Nudger,
  ) {}

  /** The task's id; with a known `dedupeKey` the id of the first one. */
  async enqueue(tx: Tx, task: NewTask): Promise<string> {
    const id = uuidv7();
    const now = this.clock.now();
    const runAt = task.runAt ?? now;
    const rows = await tx.query<{ task_id: string }>(
      `insert into tasks (task_id, lane, handler, payload_ref, next_run_at, dedupe_key, created_at)
       values ($1, $2, $3, $4, $5, $6, $7) on conflict (dedupe_key) do nothing returning task_id`,
      [id, task.lane, task.handler, JSON.stringify(task.payload), runAt, task.dedupeKey ?? null, now],
    );
    if (rows.length === 0) {
      const [known] = await tx.query<{ task_id: string }>('select task_id from tasks where dedupe_key = $1', [task.dedupeKey]);
      return known!.task_id;
    }
    tx.afterCommit(() => this.nudger.nudge(id, Math.max(0, runAt.getTime() - now.getTime())));
    return id;
  }

  /** A task that was enqueued by another statement and is due. */
  nudge(taskId: string): void {
    this.nudger.nudge(taskId, 0);
  }

  /** Declares at start-up that `handler` (a registered task handler) wants every event of this type. */
  subscribe(eventType: string, handler: string): void {
    const list = this.subscribers.get(eventType) ?? [];
    if (list.includes(handler)) throw new Error(`handler ${handler} is already subscribed to ${eventType}`);
    this.subscribers.set(eventType, [...list, handler]);
  }

  /** Publishes a domain event: one task per subscribed handler, in the same transaction. */
  async publish(tx: Tx, event: { type: string; lane: string; payload: PayloadRef }): Promise<void> {
    for (const handler of this.subscribers.get(event.type) ?? []) {
      await this.enqueue(tx, { lane: event.lane, handler, payload: { ...event.payload, eventType: event.type } });
    }
  }
}
