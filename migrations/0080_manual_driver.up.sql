-- expand: clusters that people build. Their work takes weeks and outlives every process: all of it is here.
create table manual_clusters (
  cluster_ref text primary key check (cluster_ref ~ '^[a-z0-9][a-z0-9-]{1,62}$'),
  -- What was handed over last; null before that and after the removal.
  spec        jsonb,
  serial      integer not null default 0 check (serial >= 0),
  managed     boolean not null default true,
  updated_at  timestamptz not null
);
create table manual_operations (
  operation_id text primary key,
  cluster_ref  text not null,
  kind         text not null check (kind in ('build', 'change', 'remove')),
  input_hash   text not null,
  spec         jsonb not null,
  state        text not null check (state in ('open', 'done', 'refused', 'cancelled')),
  -- The plan of the site, once the people are through, and how often it was made.
  site_plan    jsonb,
  site_tries   integer not null default 0,
  outcome      jsonb,
  error        jsonb,
  created_at   timestamptz not null,
  ended_at     timestamptz,
  check ((state = 'open') = (ended_at is null))
);
create unique index manual_operations_one_open on manual_operations (cluster_ref) where state = 'open';
create table manual_steps (
  step_id      uuid primary key,
  operation_id text not null references manual_operations,
  step_no      integer not null,
  name         text not null check (name ~ '^[a-z][a-z0-9_]{1,40}$'),
  asks         text not null,
  owner        text not null,
  needs_evidence boolean not null,
  eta          timestamptz not null,
  -- [{"text", "url", "by", "at"}], in the order in which it was given.
  evidence     jsonb not null default '[]',
  state        text not null check (state in ('open', 'done', 'refused')),
  -- The person, from the credential.
  signed_by    text,
  signed_at    timestamptz,
  note         text,
  unique (operation_id, step_no),
  check ((state = 'open') = (signed_by is null)),
  check ((signed_by is null) = (signed_at is null))
);
create index manual_steps_open on manual_steps (eta) where state = 'open';
insert into global_tables values
  ('manual_clusters', 'capacity that people build; operators only'),
  ('manual_operations', 'work of people on clusters; operators only'),
  ('manual_steps', 'work of people on clusters; operators only');
grant select, insert, update on manual_clusters, manual_operations, manual_steps to berth_ops;
