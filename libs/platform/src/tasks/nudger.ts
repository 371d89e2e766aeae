/**
 * Tells the poller that a task may be due. Two kinds exist: Bull on Redis, and Postgres' LISTEN/NOTIFY. A nudge carries an
 * id and no fact, is never awaited by a request and may be lost.
 */
export interface Nudger {
  readonly mode: 'bull' | 'poller';
  /** `delayMs` is business time until the task is due. Returns at once; failures are swallowed and counted. */
  nudge(taskId: string, delayMs: number): void;
  /** Calls `wake` on each nudge until stopped. */
  start(wake: () => void): Promise<void>;
  stop(): Promise<void>;
}

/** No nudges at all: the poller alone. Also the stand-in for processes that only enqueue and for tests. */
export class SilentNudger implements Nudger {
  readonly mode = 'poller';
  nudge(): void {}
  async start(): Promise<void> {}
  async stop(): Promise<void> {}
}
