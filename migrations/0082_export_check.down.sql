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
    from findings where subscription_id is not null;
alter table findings no force row level security;
delete from findings where kind = 'export_unconfirmed';
alter table findings force row level security;
do $$
declare kinds text;
begin
  select pg_get_constraintdef(oid) into kinds from pg_constraint where conname = 'findings_kind_check' and conrelid = 'findings'::regclass;
  if kinds is null then return; end if;
  alter table findings drop constraint findings_kind_check;
  execute 'alter table findings add constraint findings_kind_check ' || replace(kinds, '''export_unconfirmed''::text, ', '');
end $$;
drop index placements_live;
create unique index placements_live on placements (subscription_id) where phase not in ('ended', 'purging', 'purged');
alter table placements drop constraint if exists placements_phase_check;
-- A placement whose data is open just now stays as it is: rows are kept.
alter table placements add constraint placements_phase_check check (phase in
  ('requested', 'validating', 'active', 'suspending', 'suspended', 'resuming', 'ending', 'ended', 'purging', 'purged', 'failed')) not valid;
drop table if exists export_checks;
