-- expand: tenants, keys, audit.
create table tenants (
  tenant_id    uuid primary key,
  slug         text not null unique check (slug ~ '^[a-z][a-z0-9-]{1,61}[a-z0-9]$'),
  display_name text not null,
  region       text not null,
  contact      text,
  state        text not null check (state in ('active', 'closed')),
  created_at   timestamptz not null,
  updated_at   timestamptz not null
);
-- contact: sealed JSON {name, email}; erased with the buyer's key, never indexed.

create table api_keys (
  key_id       text primary key,
  kind         text not null check (kind in ('operator', 'tenant', 'cell')),
  tenant_id    uuid,
  cluster_id   uuid,
  name         text not null,
  secret_hash  text not null,
  created_at   timestamptz not null,
  expires_at   timestamptz,
  revoked_at   timestamptz,
  check ((kind = 'tenant') = (tenant_id is not null)),
  check ((kind = 'cell') = (cluster_id is not null))
);
create index api_keys_by_tenant on api_keys (tenant_id);

create table audit_events (
  audit_event_id uuid primary key,
  tenant_id      uuid,
  at             timestamptz not null,
  actor          text not null,
  action         text not null,
  subject        text not null,
  detail         jsonb not null default '{}'
);
create index audit_events_by_tenant on audit_events (tenant_id, at desc);

alter table tenants enable row level security;
alter table tenants force row level security;
create policy tenants_own on tenants for select to berth_tenant using (tenant_id = app_tenant_id());
create policy tenants_ops on tenants for all to berth_ops using (true) with check (true);
alter table api_keys enable row level security;
alter table api_keys force row level security;
create policy api_keys_own on api_keys for select to berth_tenant using (tenant_id = app_tenant_id());
create policy api_keys_ops on api_keys for all to berth_ops using (true) with check (true);
alter table audit_events enable row level security;
alter table audit_events force row level security;
create policy audit_events_own on audit_events for select to berth_tenant using (tenant_id = app_tenant_id());
create policy audit_events_ops on audit_events for all to berth_ops using (true) with check (true);

grant select on tenants, audit_events to berth_tenant;
grant select (key_id, kind, tenant_id, name, created_at, expires_at, revoked_at) on api_keys to berth_tenant;
grant select, insert, update on tenants, api_keys to berth_ops;
grant select, insert on audit_events to berth_ops;
