-- expand: before data is deleted somebody has said that it was taken along, is not wanted, or was never there.
create table export_checks (
  check_id        uuid primary key,
  -- The order in which they were written: ids of one millisecond have none.
  position        bigint generated always as identity,
  tenant_id       uuid not null,
  subscription_id uuid not null,
  placement_id    uuid not null references placements,
  state           text not null check (state in ('not_needed', 'open', 'confirmed', 'waived')),
  -- What the driver showed; null: nobody could tell, which is never taken for nothing.
  stored_bytes    numeric(38,0) check (stored_bytes >= 0),
  seen_at         timestamptz,
  reason          text not null check (length(reason) >= 3),
  decided_by      text not null,
  decided_at      timestamptz not null,
  -- Nothing is deleted before this instant, whatever was decided.
  hold_until      timestamptz,
  -- Until then the data can be read once more.
  access_until    timestamptz,
  check (state <> 'not_needed' or coalesce(stored_bytes, 0) = 0)
);
-- The newest of a placement holds; the others are its history.
create index export_checks_latest on export_checks (placement_id, position desc);
create index export_checks_by_subscription on export_checks (subscription_id);
create index export_checks_by_tenant on export_checks (tenant_id);
alter table export_checks enable row level security;
alter table export_checks force row level security;
create policy export_checks_own on export_checks for select to berth_tenant using (tenant_id = (select app_tenant_id()));
create policy export_checks_ops on export_checks for all to berth_ops using (true) with check (true);
grant select on export_checks to berth_tenant;
grant select, insert on export_checks to berth_ops;

-- Its purchase has ended and its data can be read for a while.
alter table placements drop constraint placements_phase_check;
alter table placements add constraint placements_phase_check check (phase in
  ('requested', 'validating', 'active', 'suspending', 'suspended', 'resuming', 'ending', 'ended', 'exporting', 'purging', 'purged', 'failed'));
drop index placements_live;
create unique index placements_live on placements (subscription_id) where phase not in ('ended', 'exporting', 'purging', 'purged');

do $$
declare kinds text;
begin
  select pg_get_constraintdef(oid) into strict kinds from pg_constraint where conname = 'findings_kind_check' and conrelid = 'findings'::regclass;
  alter table findings drop constraint findings_kind_check;
  execute 'alter table findings add constraint findings_kind_check ' || replace(kinds, 'ARRAY[', 'ARRAY[''export_unconfirmed''::text, ');
end $$;

create or replace view subscription_timeline with (security_invoker = true) as
  select subscription_id, received_at as at, 1 as rank, inbox_id as entry_id, 'inbound' as kind,
         jsonb_build_object('source', source, 'state', state, 'note', note, 'answered', answer_status) as facts, jsonb_build_object('inboxId', inbox_id) as refs
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
    from findings where subscription_id is not null
  union all
  select subscription_id, decided_at, 9, check_id, 'export',
         jsonb_build_object('state', state, 'storedBytes', stored_bytes::text, 'by', decided_by, 'reason', reason, 'accessUntil', access_until),
         jsonb_build_object('placementId', placement_id)
    from export_checks;
