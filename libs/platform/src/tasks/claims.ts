import { realNow, type Clock } from '../clock.js';
import type { Database, Tx } from '../db/database.js';
import type { PayloadRef } from './tasks.js';

/**
 * One claim at a time, and in the order of the indexes: with statistics from before a burst the planner takes the table for
 * empty, and would read and sort every waiting task at every claim.
 */
export const CLAIM_ALONE = `
  select pg_advisory_xact_lock(7205312), set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
         set_config('enable_bitmapscan', 'off', true)`;

/**
 * Claims what is due: $1 business time, $2 the lease's end, $3 real time, $4 how many, $5 handlers. The lane's state is asked
 * for task by task, in the order of the index `tasks_due_in_order`, and ends with the last one taken.
 */
export const CLAIM = `
  update tasks t set state = 'running', attempts = t.attempts + 1, fence = t.fence + 1, lease_until = $2
   where t.task_id = any (array(
     select c.task_id from tasks c
      where c.next_run_at <= $1
        and c.state in ('queued', 'running')
        and (c.state = 'queued' or c.lease_until < $3)
        and c.handler = any($5::text[])
        and c.sequence = (select o.sequence from tasks o where o.lane = c.lane and o.state <> 'done' order by o.sequence limit 1)
        and (select r.task_id from tasks r
              where r.lane = c.lane and r.task_id <> c.task_id and r.state <> 'done' and r.state = 'running' and r.lease_until >= $3
              order by r.sequence limit 1) is null
      order by c.next_run_at, c.sequence limit $4))
  returning t.task_id, t.lane, t.handler, t.payload_ref, t.attempts, t.fence`;

/** A task that this process runs, as it was when it was claimed. */
export interface ClaimedTask {
  task_id: string;
  lane: string;
  handler: string;
  payload_ref: PayloadRef;
  attempts: number;
  fence: string;
}

/** Claims and what becomes of them. Every write after a claim carries its fence: who was overtaken changes nothing. */
export class Claims {
  constructor(
    private readonly db: Database,
    private readonly clock: Clock,
  ) {}

  claim(limit: number, leaseMs: number, handlers: string[]): Promise<ClaimedTask[]> {
    return this.db.ops(async (tx) => {
      await tx.query(CLAIM_ALONE);
      return tx.query<ClaimedTask>(CLAIM, [this.clock.now(), new Date(realNow().getTime() + leaseMs), realNow(), limit, handlers]);
    });
  }

  /** As if it had never been claimed. */
  async giveBack(tasks: ClaimedTask[]): Promise<void> {
    await this.db.ops(async (tx) => {
      for (const { task_id, fence } of tasks)
        await tx.query(
          `update tasks set state = 'queued', lease_until = null, attempts = attempts - 1 where task_id = $1 and fence = $2 and state = 'running'`,
          [task_id, fence],
        );
    });
  }

  /** Throws where another worker has it now. */
  async finish(tx: Tx, task: ClaimedTask): Promise<void> {
    const rows = await tx.query(
      `update tasks set state = 'done', finished_at = $3, lease_until = null, last_error = null where task_id = $1 and fence = $2 returning 1`,
      [task.task_id, task.fence, this.clock.now()],
    );
    if (rows.length === 0) throw new Error(`task ${task.task_id} was taken over by another worker`);
  }

  /** Answers whether it was ours to park. */
  async park(tx: Tx, task: ClaimedTask, error: string): Promise<boolean> {
    const mine = await tx.query(
      `update tasks set state = 'parked', lease_until = null, last_error = $3 where task_id = $1 and fence = $2 returning 1`,
      [task.task_id, task.fence, error],
    );
    return mine.length > 0;
  }

  /** To be run again at a business instant; `uncounted`: this run was no attempt. */
  async reschedule(task: ClaimedTask, at: Date, reason: string, uncounted: boolean): Promise<void> {
    await this.db.ops((tx) =>
      tx.query(
        `update tasks set state = 'queued', next_run_at = $3, lease_until = null, last_error = $4, attempts = attempts - $5 where task_id = $1 and fence = $2`,
        [task.task_id, task.fence, at, reason, uncounted ? 1 : 0],
      ),
    );
  }

  /** Every lease is over: for an installation's only worker, whose predecessor is dead. */
  async endLeases(): Promise<void> {
    await this.db.ops((tx) => tx.query(`update tasks set lease_until = $1 where state = 'running'`, [new Date(realNow().getTime() - 1)]));
  }

  /** Somebody works on a task, or its lease has just run out and we may take it. */
  async anyHeld(handlers: string[]): Promise<boolean> {
    const rows = await this.db.ops((tx) =>
      tx.query(`select 1 from tasks where state = 'running' and (lease_until > $1 or handler = any($2::text[])) limit 1`, [
        realNow(),
        handlers,
      ]),
    );
    return rows.length > 0;
  }
}
