create index tasks_due on tasks (next_run_at) where state in ('queued', 'running');
drop index tasks_due_in_order;
