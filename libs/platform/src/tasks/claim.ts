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
