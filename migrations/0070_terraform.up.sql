-- expand: what the terraform driver must not keep on a runner's disk: its record of operations and fences, the state of each
-- cluster with every version of it, the credentials of its runs, and the plans that were made.
create table driver_operations (
  driver       text not null,
  operation_id text not null,
  cluster_ref  text not null,
  -- Arguments may hold keys: the record has their hash only.
  record       jsonb not null,
  updated_at   timestamptz not null,
  primary key (driver, operation_id)
);
create index driver_operations_by_age on driver_operations (driver, updated_at);
-- Kept after a cluster's deletion, so that a late writer stays out.
create table driver_fences (
  driver      text not null,
  cluster_ref text not null,
  token       bigint not null check (token >= 0),
  primary key (driver, cluster_ref)
);

create table terraform_clusters (
  cluster_ref     text primary key check (cluster_ref ~ '^[a-z0-9][a-z0-9-]{1,62}$'),
  -- Grows with each operation that came to its end; terraform's own serial also moves in the middle of one.
  recorded_serial integer not null default 0,
  -- The last spec that was built; null before the first and after the deletion.
  spec            jsonb,
  nodes           jsonb not null default '[]',
  managed         boolean not null default true,
  -- The one credential that may write, and the lock it holds. A newer holder voids both.
  holder          uuid,
  lock_id         text,
  lock_info       jsonb,
  updated_at      timestamptz not null
);

create table terraform_credentials (
  credential_id uuid primary key,
  cluster_ref   text not null references terraform_clusters,
  operation_id  text not null,
  mode          text not null check (mode in ('read', 'write')),
  fencing_token bigint not null,
  secret_hash   text not null,
  issued_at     timestamptz not null,
  expires_at    timestamptz not null,
  ended_at      timestamptz
);
create index terraform_credentials_by_cluster on terraform_credentials (cluster_ref);

create table terraform_state_versions (
  cluster_ref   text not null references terraform_clusters,
  version       integer not null check (version > 0),
  lineage       text not null,
  serial        bigint not null,
  sha256        text not null,
  bytes         integer not null,
  resources     integer not null,
  -- Null: the state was removed; the versions before it stay.
  sealed        text,
  credential_id uuid not null references terraform_credentials,
  operation_id  text not null,
  fencing_token bigint not null,
  written_at    timestamptz not null,
  primary key (cluster_ref, version)
);
select freeze_columns('terraform_state_versions', 'cluster_ref', 'version', 'lineage', 'serial', 'sha256', 'bytes', 'resources', 'sealed',
  'credential_id', 'operation_id', 'fencing_token', 'written_at');

create table terraform_plans (
  plan_id     uuid primary key,
  cluster_ref text not null references terraform_clusters,
  -- Of the plan file, as `apply` will write it to disk again.
  sha256      text not null,
  -- Of what the caller was given: another artefact under this id was tampered with.
  artefact_sha256 text not null,
  lineage     text,
  serial      bigint,
  destroys    jsonb not null,
  sealed      text not null,
  created_at  timestamptz not null,
  expires_at  timestamptz not null
);
create index terraform_plans_by_expiry on terraform_plans (expires_at);

insert into global_tables values
  ('driver_operations', 'record of driver calls about clusters, which have no tenant; workers only'),
  ('driver_fences', 'highest fencing token of a cluster, which has no tenant; workers only'),
  ('terraform_clusters', 'what terraform built for clusters, which have no tenant; workers only'),
  ('terraform_credentials', 'credentials of runs about clusters, which have no tenant; workers only'),
  ('terraform_state_versions', 'sealed state of clusters, which have no tenant; workers only'),
  ('terraform_plans', 'sealed plans of clusters, which have no tenant; workers only');
grant select, insert, update, delete on driver_operations to berth_ops;
grant select, insert, update on driver_fences, terraform_clusters, terraform_credentials to berth_ops;
grant select, insert on terraform_state_versions to berth_ops;
grant select, insert, delete on terraform_plans to berth_ops;
