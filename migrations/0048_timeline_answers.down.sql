create or replace view subscription_timeline with (security_invoker = true) as
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
alter table fulfillment_events drop column evidence;
alter table inbox drop column answer_status;
