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

/** `fence` counts the claims: a task that is released and parks again is another parking. */
export interface ParkedTask {
  taskId: string;
  lane: string;
  handler: string;
  error: string;
  fence: string;
}

export const TASK_STATES = ['queued', 'running', 'done', 'parked'] as const;

export interface TaskListRow extends Record<string, unknown> {
  task_id: string;
  lane: string;
  handler: string;
  payload_ref: PayloadRef;
  state: (typeof TASK_STATES)[number];
  attempts: number;
  next_run_at: Date;
  last_error: string | null;
  created_at: Date;
  finished_at: Date | null;
}
const LISTED = 'task_id, lane, handler, payload_ref, state, attempts, next_run_at, last_error, created_at, finished_at';

/** Tasks of one state in order of their ids, which is the order they were made in. */
export async function listTasks(
  tx: Tx,
  q: { state: (typeof TASK_STATES)[number]; limit: number; after: string | null },
): Promise<{ items: TaskListRow[]; nextCursor: string | null }> {
  const rows = await tx.query<TaskListRow>(
    `select ${LISTED} from tasks where state = $1 and ($2::uuid is null or task_id > $2) order by task_id limit $3`,
    [q.state, q.after, q.limit + 1],
  );
  const items = rows.slice(0, q.limit);
  return { items, nextCursor: rows.length > q.limit ? items.at(-1)!.task_id : null };
}

/**
 * Deletes what is done since before `before` (business time), at most `most` at once, oldest first; answers how many. A task with a
 * dedupe key stays: it is what keeps its like from being done twice.
 */
export async function pruneTasks(tx: Tx, before: Date, most: number): Promise<number> {
  const rows = await tx.query(
    `delete from tasks where task_id in (
       select task_id from tasks where state = 'done' and finished_at < $1 and dedupe_key is null order by finished_at limit $2
          for update skip locked) returning 1`,
    [before, most],
  );
  return rows.length;
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

  /** What waits in this lane for a later moment is due now. A task that runs is left alone. */
  async hurry(tx: Tx, lane: string): Promise<void> {
    const now = this.clock.now();
    const rows = await tx.query<{ task_id: string }>(
      `update tasks set next_run_at = $2 where lane = $1 and state = 'queued' and next_run_at > $2 returning task_id`,
      [lane, now],
    );
    for (const { task_id } of rows) tx.afterCommit(() => this.nudger.nudge(task_id, 0));
  }

  /** Lets a parked task run again at once, with all its attempts before it; its lane was waiting for it. */
  async release(tx: Tx, taskId: string): Promise<TaskListRow | 'unknown' | 'not_parked'> {
    const [row] = await tx.query<TaskListRow>(
      `update tasks set state = 'queued', attempts = 0, next_run_at = $2, fence = fence + 1 where task_id = $1 and state = 'parked' returning ${LISTED}`,
      [taskId, this.clock.now()],
    );
    if (row) {
      tx.afterCommit(() => this.nudger.nudge(taskId, 0));
      return row;
    }
    const [known] = await tx.query('select 1 from tasks where task_id = $1', [taskId]);
    return known ? 'not_parked' : 'unknown';
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
