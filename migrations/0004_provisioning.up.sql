-- expand: capacity, placements with their keys, operations and their step ledger.
create table clusters (
  cluster_id          uuid primary key,
  -- Also the reference that drivers know the cluster by. Never given out twice: rows are kept.
  name                text not null unique check (name ~ '^[a-z0-9][a-z0-9-]{1,62}$'),
  driver              text not null,
  variant             text not null,
  region              text not null,
  shape               text not null,
  phase               text not null check (phase in ('requested', 'preflight', 'planned', 'provisioning', 'configuring', 'validating', 'active', 'degraded', 'failed')),
  desired             jsonb not null,
  recorded            jsonb not null default '{}',
  observed            jsonb,
  generation          bigint not null default 0,
  observed_generation bigint not null default 0,
  fence               bigint not null default 0,
  lease_until         timestamptz,
  handle              text,
  cell_key_sealed     text,
  created_at          timestamptz not null,
  updated_at          timestamptz not null,
  deleted_at          timestamptz
);
create index clusters_by_place on clusters (region, shape) where deleted_at is null;

create table placements (
  placement_id        uuid primary key,
  tenant_id           uuid not null,
  subscription_id     uuid not null,
  cluster_id          uuid not null references clusters,
  -- Never given to another placement, not even after a purge.
  account_name        text not null unique check (account_name ~ '^[a-z0-9]{3,24}$'),
  phase               text not null check (phase in ('requested', 'validating', 'active', 'suspending', 'suspended', 'resuming', 'ending', 'ended', 'purging', 'purged', 'failed')),
  desired             jsonb not null,
  -- Both count in the cluster's generations.
  generation          bigint not null,
  observed_generation bigint not null default 0,
  endpoint            text,
  region              text not null,
  activated_at        timestamptz,
  access_ended_at     timestamptz,
  last_sample         jsonb,
  purged_at           timestamptz,
  version             integer not null default 1,
  created_at          timestamptz not null,
  updated_at          timestamptz not null
);
create unique index placements_live on placements (subscription_id) where phase not in ('ended', 'purging', 'purged');
create index placements_by_subscription on placements (subscription_id, placement_id);
create index placements_by_cluster on placements (cluster_id);
create index placements_by_tenant on placements (tenant_id, placement_id);

create table placement_credentials (
  placement_id uuid not null references placements,
  key_id       text not null,
  tenant_id    uuid not null,
  sealed       text not null,
  created_at   timestamptz not null,
  primary key (placement_id, key_id)
);

create table operations (
  operation_id    uuid primary key,
  tenant_id       uuid,
  kind            text not null,
  subject_kind    text not null check (subject_kind in ('cluster', 'placement')),
  subject_id      uuid not null,
  cluster_id      uuid not null references clusters,
  subscription_id uuid,
  -- The cluster's generation that carries the wish.
  generation      bigint not null,
  phase           text not null,
  step            integer not null,
  steps           integer not null,
  awaited         text,
  state           text not null check (state in ('running', 'succeeded', 'failed', 'cancelled')),
  log             jsonb not null default '[]',
  error           jsonb,
  created_at      timestamptz not null,
  updated_at      timestamptz not null,
  finished_at     timestamptz
);
create index operations_running on operations (cluster_id) where state = 'running';
create index operations_by_subject on operations (subject_id, operation_id);
create index operations_by_subscription on operations (subscription_id, operation_id);
create index operations_by_tenant on operations (tenant_id, operation_id);

create table operation_steps (
  operation_id uuid not null references operations,
  step_no      integer not null,
  -- The driver's idempotency key: the same id is the same handle and one effect.
  step_id      uuid not null unique,
  name         text not null,
  intent_at    timestamptz not null,
  intent       jsonb not null,
  attempts     integer not null default 0,
  outcome_at   timestamptz,
  outcome      jsonb,
  state        text not null check (state in ('intent', 'unknown', 'ok', 'refused', 'abandoned')),
  primary key (operation_id, step_no)
);
create unique index operation_steps_one_open on operation_steps (operation_id) where outcome_at is null;

alter table placements enable row level security;
alter table placements force row level security;
create policy placements_own on placements for select to berth_tenant using (tenant_id = app_tenant_id());
create policy placements_ops on placements for all to berth_ops using (true) with check (true);
alter table placement_credentials enable row level security;
alter table placement_credentials force row level security;
create policy placement_credentials_own on placement_credentials for select to berth_tenant using (tenant_id = app_tenant_id());
create policy placement_credentials_ops on placement_credentials for all to berth_ops using (true) with check (true);
alter table operations enable row level security;
alter table operations force row level security;
-- An operation without a tenant is the operator's own: null equals nobody's context.
create policy operations_own on operations for select to berth_tenant using (tenant_id = app_tenant_id());
create policy operations_ops on operations for all to berth_ops using (true) with check (true);

insert into global_tables values
  ('clusters', 'operator-owned capacity without a tenant; served to operators only'),
  ('operation_steps', 'ledger of driver calls, which serve several tenants at once; served to operators only');

grant select on placements, placement_credentials, operations to berth_tenant;
grant select, insert, update on clusters, placements, placement_credentials, operations, operation_steps to berth_ops;
grant delete on placement_credentials to berth_ops;
