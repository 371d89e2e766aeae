-- expand: drift runs with their lines; the timeline of a purchase, for tenants too.
create table drift_runs (
  drift_run_id uuid primary key,
  marketplace  text not null,
  requested_by text not null,
  state        text not null check (state in ('requested', 'rereading', 'completed', 'failed', 'not_comparable')),
  -- How many were listed, agreed, were foreign, had ended unheard of.
  counts       jsonb,
  error        text,
  created_at   timestamptz not null,
  compared_at  timestamptz,
  completed_at timestamptz
);
create index drift_runs_by_time on drift_runs (marketplace, created_at desc);
-- One comparison at a time and marketplace: the list is theirs to give, and it is long.
create unique index drift_runs_one_open on drift_runs (marketplace) where state in ('requested', 'rereading');

-- Only what does not agree; the rest is a number in the run.
create table drift_lines (
  drift_run_id             uuid not null references drift_runs,
  external_subscription_id text not null,
  subscription_id          uuid,
  verdict                  text not null check (verdict in
    ('foreign', 'ended_there', 'not_yet_visible', 'rereading', 'agrees_now', 'omitted', 'applied', 'missing_there', 'differs', 'unread')),
  differences              text[] not null,
  note                     text not null,
  judged_at                timestamptz not null,
  primary key (drift_run_id, external_subscription_id)
);
create index drift_lines_by_purchase on drift_lines (external_subscription_id);
create index drift_lines_open on drift_lines (drift_run_id) where verdict = 'rereading';

grant select, insert, update on drift_runs, drift_lines to berth_ops;
insert into global_tables values
  ('drift_runs', 'a comparison with a marketplace over all tenants; operators only'),
  ('drift_lines', 'a comparison with a marketplace over all tenants; operators only');

-- ---------------------------------------------------------------- what a tenant may see of its own purchase's history
-- These rows come before their tenant is known, so they carry none: what makes one a tenant's own is the purchase it names.
do $$ declare t text; begin
  foreach t in array array['inbox', 'calls', 'fulfillment_events', 'change_requests'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy %1$I on %2$I for select to berth_tenant using (exists (select 1 from subscriptions s where s.subscription_id = %2$I.subscription_id and s.tenant_id = app_tenant_id()))',
                   t || '_own', t);
    execute format('create policy %I on %I for all to berth_ops using (true) with check (true)', t || '_ops', t);
  end loop;
end $$;
-- Columns, not tables: no body, no header, no principal, no intent or answer of a call, no foreign operation id.
grant select (inbox_id, source, received_at, state, note, subscription_id) on inbox to berth_tenant;
grant select (call_id, target, operation, subscription_id, intent_at, outcome_at, state) on calls to berth_tenant;
grant select (fulfillment_event_id, inbox_id, subscription_id, kind, occurred_at, note, outcome, recorded_at) on fulfillment_events to berth_tenant;
grant select (change_request_id, subscription_id, kind, to_external_plan_id, to_quantity, state, reason, answered_there_at, effective_at, created_at)
  on change_requests to berth_tenant;
create index calls_by_subscription on calls (subscription_id, intent_at) where subscription_id is not null;
create index inbox_by_subscription on inbox (subscription_id, received_at) where subscription_id is not null;
update global_tables set reason = 'arrives before its tenant is known; a tenant sees of its own purchases that one came, never what it says' where table_name = 'inbox';
update global_tables set reason = 'journal of outbound calls; a tenant sees of its own purchases that one was made and how it ended' where table_name = 'calls';
update global_tables set reason = 'may name a purchase that has no tenant yet; a tenant sees those of its own purchases' where table_name = 'fulfillment_events';
update global_tables set reason = 'decided before a tenant context exists; a tenant sees those of its own purchases' where table_name = 'change_requests';

-- Everything that happened to a purchase. Looks with the rights of its reader; rank orders what happened in one instant by cause.
create view subscription_timeline with (security_invoker = true) as
  select subscription_id, received_at as at, 1 as rank, inbox_id as entry_id, 'inbound' as kind,
         jsonb_build_object('source', source, 'state', state, 'note', note) as facts, jsonb_build_object('inboxId', inbox_id) as refs
    from inbox where subscription_id is not null
  union all
  select subscription_id, created_at, 2, change_request_id, 'decision',
         jsonb_build_object('change', kind, 'toPlan', to_external_plan_id, 'toQuantity', to_quantity, 'state', state, 'reason', reason,
                            'answeredAt', answered_there_at, 'effectiveAt', effective_at),
         jsonb_build_object('changeRequestId', change_request_id)
    from change_requests
  union all
  select subscription_id, recorded_at, 3, fulfillment_event_id, 'event',
         jsonb_build_object('event', kind, 'note', note, 'outcome', outcome, 'occurredAt', occurred_at),
         jsonb_build_object('fulfillmentEventId', fulfillment_event_id, 'inboxId', inbox_id)
    from fulfillment_events where subscription_id is not null
  union all
  select subscription_id, starts_at, 4, segment_id, 'segment',
         jsonb_build_object('reason', reason, 'plan', external_plan_id, 'quantity', quantity, 'billable', billable, 'sequence', sequence, 'endsAt', ends_at),
         jsonb_build_object('segmentId', segment_id)
    from segments
  union all
  select subscription_id, ended_at, 5, subscription_id, 'ended', jsonb_build_object('state', state), '{}'::jsonb
    from subscriptions where ended_at is not null
  union all
  select subscription_id, intent_at, 6, call_id, 'call',
         jsonb_build_object('target', target, 'operation', operation, 'state', state, 'outcomeAt', outcome_at), jsonb_build_object('callId', call_id)
    from calls where subscription_id is not null
  union all
  select subscription_id, created_at, 7, operation_id, 'operation',
         jsonb_build_object('operation', kind, 'state', state, 'finishedAt', finished_at, 'error', error ->> 'code'),
         jsonb_build_object('operationId', operation_id)
    from operations where subscription_id is not null
  union all
  select subscription_id, raised_at, 8, finding_id, 'finding',
         jsonb_build_object('finding', kind, 'settlement', settlement ->> 'kind', 'deadline', deadline), jsonb_build_object('findingId', finding_id)
    from findings where subscription_id is not null;
grant select on subscription_timeline to berth_tenant, berth_ops;
