-- A claim reads the due tasks in their order and stops at the first few, however many wait.
create index tasks_due_in_order on tasks (next_run_at, sequence) where state in ('queued', 'running');
drop index tasks_due;
