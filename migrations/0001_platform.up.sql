-- expand: the three platform tables (inbox, tasks, calls) and the capped table of refusals.
-- Helper for all later policies. The setting is '' after a transaction-local value, hence nullif.
create function app_tenant_id() returns uuid language sql stable as
  $$ select nullif(current_setting('app.tenant_id', true), '')::uuid $$;
create function app_tenant_ids() returns uuid[] language sql stable as
  $$ select coalesce(nullif(current_setting('app.tenant_ids', true), '')::uuid[], '{}'::uuid[]) $$;

-- Tables without a tenant stand in this list, each with its reason; the isolation test reads it.
create table global_tables (table_name text primary key, reason text not null);

create table inbox (
  inbox_id      uuid primary key,
  source        text not null,
  natural_key   text not null,
  received_at   timestamptz not null,
  content_type  text not null,
  headers       jsonb not null,
  body          text not null,
  principal     text not null,
  answer        jsonb,
  state         text not null check (state in ('received', 'processed', 'parked')),
  note          text,
  subscription_id uuid,
  unique (source, natural_key)
);
create index inbox_by_time on inbox (received_at desc, inbox_id);
create index inbox_parked on inbox (received_at) where state = 'parked';

create table refusals (
  refusal_id  uuid primary key,
  source      text not null,
  code        text not null,
  detail      text not null,
  refused_at  timestamptz not null,
  headers     jsonb not null,
  body_sample text not null
);
create index refusals_by_time on refusals (refused_at desc);

create table tasks (
  task_id     uuid primary key,
  sequence    bigint generated always as identity,
  lane        text not null,
  handler     text not null,
  payload_ref jsonb not null,
  next_run_at timestamptz not null,
  attempts    integer not null default 0,
  state       text not null default 'queued' check (state in ('queued', 'running', 'done', 'parked')),
  lease_until timestamptz,
  fence       bigint not null default 0,
  dedupe_key  text unique,
  last_error  text,
  created_at  timestamptz not null,
  finished_at timestamptz
);
create index tasks_open_by_lane on tasks (lane, sequence) where state <> 'done';
create index tasks_due on tasks (next_run_at) where state in ('queued', 'running');
create index tasks_done on tasks (finished_at) where state = 'done';

create table calls (
  call_id     uuid primary key,
  target      text not null,
  operation   text not null,
  subject     text not null,
  subscription_id uuid,
  intent_at   timestamptz not null,
  intent      jsonb not null,
  outcome_at  timestamptz,
  outcome     jsonb,
  state       text not null check (state in ('intent', 'ok', 'refused', 'unknown'))
);
create index calls_open on calls (intent_at) where state = 'intent';
create index calls_by_subject on calls (subject, intent_at);

insert into global_tables values
  ('global_tables', 'this list'),
  ('migrations', 'schema history, owner only'),
  ('inbox', 'arrives before its tenant is known; served to operators only'),
  ('refusals', 'unverified senders have no tenant; served to operators only'),
  ('tasks', 'work queue of the house; carries ids only'),
  ('calls', 'journal of outbound calls; served to operators only');

grant usage on schema public to berth_ops, berth_tenant, berth_intake;
grant select on global_tables to berth_ops;
grant select, insert, update on inbox, tasks, calls to berth_ops;
grant delete on tasks to berth_ops;
grant select, insert, delete on refusals to berth_ops;
