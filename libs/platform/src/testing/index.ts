import { AsyncResource } from 'node:async_hooks';
import type { Clock } from '../clock.js';
import type { Database } from '../db/database.js';
import { createLogger, type Logger } from '../logging.js';

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  constructor(private at: Date) {}
  now(): Date {
    return new Date(this.at);
  }
  set(at: Date | string): void {
    this.at = new Date(at);
  }
  advance(ms: number): void {
    this.at = new Date(this.at.getTime() + ms);
  }
}

/** A logger that says nothing. */
export const silentLogger = (): Logger => createLogger('test', 'silent');

/** Waits in real time, with a bound, for something that another process or connection brings about. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<void> {
  const until = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > until) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const outside = new AsyncResource('a test');
/** Does `work` as somebody else would, also where the test holds a transaction open meanwhile (see `OneAtATime`). */
export const elsewhere = <T>(work: () => Promise<T>): Promise<T> => outside.runInAsyncScope(work);

/** How many transactions of this database wait for a lock just now. */
export const lockWaiters = (db: Pick<Database, 'ops'>): Promise<number> =>
  elsewhere(() =>
    db.ops(
      async (tx) =>
        (await tx.query(`select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)).length,
    ),
  );

/** A promise and the hand that opens it: lets a test hold a handler in the middle. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}
