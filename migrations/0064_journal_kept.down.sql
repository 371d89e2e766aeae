drop index inbox_processed;
drop index calls_settled;
drop policy calls_settled_only on calls;
revoke delete on calls, reconciliation_runs, reconciliation_steps, reconciliations, reconciliation_lines from berth_ops;
alter policy inbox_forget on inbox using (source like '%.landing' and subscription_id is null);
