-- expand: what is settled may go after its retention. Messages: only processed ones (and, as before, landings that led nowhere).
alter policy inbox_forget on inbox using (state = 'processed' or (source like '%.landing' and subscription_id is null));
grant delete on calls, reconciliation_runs, reconciliation_steps, reconciliations, reconciliation_lines to berth_ops;
create policy calls_settled_only on calls as restrictive for delete to berth_ops using (state in ('ok', 'refused'));
create index calls_settled on calls (intent_at) where state in ('ok', 'refused');
create index inbox_processed on inbox (received_at) where state = 'processed';
