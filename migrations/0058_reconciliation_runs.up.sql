-- expand: a run of comparisons, who asked for it, how far it is, and what each comparison found.
create table reconciliation_runs (
  run_id        uuid primary key,
  kinds         text[] not null check (cardinality(kinds) > 0),
  -- Null: every marketplace of the installation.
  marketplace   text,
  from_at       timestamptz not null,
  to_at         timestamptz not null,
  requested_by  text not null,
  requested_via text not null check (requested_via in ('schedule', 'api', 'command')),
  state         text not null check (state in ('queued', 'running', 'done', 'failed')),
  created_at    timestamptz not null,
  started_at    timestamptz,
  -- When it last got on: a run that stands still is given up by the next one.
  touched_at    timestamptz not null,
  finished_at   timestamptz,
  check (to_at > from_at),
  check ((state in ('done', 'failed')) = (finished_at is not null))
);
create table reconciliation_steps (
  run_id          uuid not null references reconciliation_runs,
  step            integer not null,
  kind            text not null constraint reconciliation_steps_kind_check check (kind in ('sum_law', 'read_back', 'subscriptions', 'placements')),
  marketplace     text,
  state           text not null check (state in ('waiting', 'running', 'done', 'failed', 'not_comparable')),
  -- The comparison with a marketplace (reconciliations) or the drift run that holds the lines.
  reference       uuid,
  -- How far a comparison that goes on in pieces has come.
  position        text,
  compared        integer not null default 0,
  agreed          integer not null default 0,
  differing       integer not null default 0,
  not_yet_visible integer not null default 0,
  opened          integer not null default 0,
  closed          integer not null default 0,
  reason          text,
  started_at      timestamptz,
  finished_at     timestamptz,
  primary key (run_id, step),
  check ((state in ('done', 'failed', 'not_comparable')) = (finished_at is not null))
);
-- No comparison goes on twice side by side, whoever asks.
create unique index reconciliation_steps_one_open on reconciliation_steps (kind, coalesce(marketplace, '')) where finished_at is null;
create index reconciliation_steps_latest on reconciliation_steps (kind, marketplace, finished_at);
create index reconciliation_runs_open on reconciliation_runs (touched_at) where finished_at is null;
-- What a comparison says again and again of one subject is one finding.
create index findings_standing on findings ((evidence ->> 'comparison')) where settlement is null;

insert into global_tables values
  ('reconciliation_runs', 'comparisons over all tenants; operators only'),
  ('reconciliation_steps', 'comparisons over all tenants; operators only');
grant select, insert, update on reconciliation_runs, reconciliation_steps to berth_ops;
