-- expand: what an endpoint was seen to do, rule by rule, and how a buyer may sign in there.
create table conformance_runs (
  run_id        uuid primary key,
  placement_id  uuid not null,
  cluster_id    uuid not null,
  -- Of the placement; the run works beside it, on the same cluster and through the same door.
  endpoint      text not null,
  driver        text not null,
  region        text not null,
  suite         text not null,
  suite_version text not null,
  state         text not null check (state in ('queued', 'running', 'done', 'failed')),
  result        text check (result in ('pass', 'fail', 'not_supported', 'unknown')),
  lacking       text[] not null default '{}',
  rules         jsonb not null default '[]',
  step          integer not null default 0,
  steps         integer not null default 0,
  -- The rule that is being tried.
  awaited       text,
  -- The account that is open for it; a secret of it is nowhere.
  probe_account text,
  attempts      integer not null default 0,
  error         jsonb,
  requested_by  text not null,
  created_at    timestamptz not null,
  started_at    timestamptz,
  finished_at   timestamptz,
  check ((state in ('done', 'failed')) = (finished_at is not null)),
  check ((state = 'done') = (result is not null))
);
create index conformance_runs_by_placement on conformance_runs (placement_id, run_id);
-- What a gate asks for: the newest end in a place.
create index conformance_runs_by_place on conformance_runs (driver, region, finished_at) where finished_at is not null;
create unique index conformance_runs_one_open on conformance_runs (placement_id) where finished_at is null;
insert into global_tables values ('conformance_runs', 'proofs of endpoints by an account that is no tenant''s; operators only');
grant select, insert, update on conformance_runs to berth_ops;

alter table placements add column endpoint_description jsonb;
