import type { Tx } from '../db/database.js';
import type { PayloadRef } from './tasks.js';

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
