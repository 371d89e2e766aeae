drop view subscription_timeline;
drop index inbox_by_subscription;
drop index calls_by_subscription;
do $$ declare t text; begin
  foreach t in array array['inbox', 'calls', 'fulfillment_events', 'change_requests'] loop
    execute format('revoke select on %I from berth_tenant', t);
    execute format('drop policy %I on %I', t || '_own', t);
    execute format('drop policy %I on %I', t || '_ops', t);
    execute format('alter table %I no force row level security', t);
    execute format('alter table %I disable row level security', t);
  end loop;
end $$;
revoke select (inbox_id, source, received_at, state, note, subscription_id) on inbox from berth_tenant;
revoke select (call_id, target, operation, subscription_id, intent_at, outcome_at, state) on calls from berth_tenant;
revoke select (fulfillment_event_id, inbox_id, subscription_id, kind, occurred_at, note, outcome, recorded_at) on fulfillment_events from berth_tenant;
revoke select (change_request_id, subscription_id, kind, to_external_plan_id, to_quantity, state, reason, answered_there_at, effective_at, created_at)
  on change_requests from berth_tenant;
update global_tables set reason = 'arrives before its tenant is known; served to operators only' where table_name = 'inbox';
update global_tables set reason = 'journal of outbound calls; served to operators only' where table_name = 'calls';
update global_tables set reason = 'may name a purchase that has no tenant yet; operators only' where table_name = 'fulfillment_events';
update global_tables set reason = 'decided before a tenant context exists; operators only' where table_name = 'change_requests';
delete from global_tables where table_name in ('drift_runs', 'drift_lines');
drop table drift_lines;
drop table drift_runs;
