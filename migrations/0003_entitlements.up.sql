-- expand: catalog, the purchase and its segments, rights and limits, landing sessions.
create table plan_versions (
  plan_version_id   uuid primary key,
  marketplace       text not null,
  external_offer_id text not null,
  external_plan_id  text not null,
  version           integer not null,
  content_hash      text not null,
  document          jsonb not null,
  loaded_at         timestamptz not null,
  unique (marketplace, external_offer_id, external_plan_id, version)
);
create function refuse_change() returns trigger language plpgsql as
  $$ begin raise exception '% is immutable', tg_table_name using errcode = 'restrict_violation'; end $$;
create trigger plan_versions_immutable before update or delete on plan_versions for each row execute function refuse_change();

create table subscriptions (
  subscription_id          uuid primary key,
  marketplace              text not null,
  external_subscription_id text not null,
  tenant_id                uuid,
  buyer_account_id         text,
  state                    text not null check (state in ('scheduled', 'pending_fulfillment', 'active', 'suspended', 'closing', 'cancelled', 'voided')),
  suspended_source         text,
  name                     text,
  plan_version_id          uuid,
  external_offer_id        text not null,
  external_plan_id         text not null,
  quantity                 integer,
  term_starts_at           timestamptz,
  term_ends_at             timestamptz,
  term_unit                text,
  ends_at                  timestamptz,
  ended_at                 timestamptz,
  activate_by              timestamptz,
  acknowledged_at          timestamptz,
  truth                    jsonb not null,
  truth_version            text,
  marketplace_refs         jsonb not null default '{}',
  last_occurred_at         timestamptz,
  is_test                  boolean not null default false,
  superseded_by            uuid,
  version                  integer not null default 1,
  created_at               timestamptz not null,
  updated_at               timestamptz not null,
  unique (marketplace, external_subscription_id)
);
create index subscriptions_by_tenant on subscriptions (tenant_id, subscription_id);

create table subscription_aliases (
  marketplace     text not null,
  kind            text not null,
  external_id     text not null,
  subscription_id uuid not null,
  primary key (marketplace, kind, external_id)
);

create table segments (
  segment_id      uuid primary key,
  subscription_id uuid not null,
  tenant_id       uuid not null,
  sequence        integer not null,
  starts_at       timestamptz not null,
  ends_at         timestamptz,
  plan_version_id uuid not null,
  external_plan_id text not null,
  quantity        integer,
  billable        boolean not null,
  reason          text not null,
  term_starts_at  timestamptz,
  term_ends_at    timestamptz,
  created_at      timestamptz not null,
  unique (subscription_id, sequence),
  check (ends_at is null or ends_at > starts_at)
);
create index segments_by_tenant on segments (tenant_id, subscription_id);

create table fulfillment_events (
  fulfillment_event_id uuid primary key,
  inbox_id        uuid,
  subscription_id uuid,
  marketplace     text not null,
  external_subscription_id text not null,
  kind            text not null,
  occurred_at     timestamptz not null,
  note            text not null,
  outcome         text not null,
  recorded_at     timestamptz not null
);
create index fulfillment_events_by_subscription on fulfillment_events (subscription_id, recorded_at);

create table change_requests (
  change_request_id     uuid primary key,
  subscription_id       uuid not null,
  external_operation_id text not null,
  kind                  text not null check (kind in ('plan', 'quantity')),
  to_external_plan_id   text,
  to_quantity           integer,
  state                 text not null check (state in ('accepted', 'refused', 'applied', 'dropped')),
  reason                text,
  answered_there_at     timestamptz,
  effective_at          timestamptz,
  created_at            timestamptz not null,
  updated_at            timestamptz not null,
  unique (subscription_id, external_operation_id)
);

create table landing_sessions (
  session_hash    text primary key,
  marketplace     text not null,
  token_hash      text not null,
  subscription_id uuid not null,
  details         text,
  completed_at    timestamptz,
  created_at      timestamptz not null,
  expires_at      timestamptz not null
);
create index landing_sessions_by_subscription on landing_sessions (subscription_id);

create table entitlements (
  entitlement_id  uuid primary key,
  tenant_id       uuid not null,
  subscription_id uuid not null,
  feature         text not null,
  value           jsonb not null,
  plan_version_id uuid not null,
  starts_at       timestamptz not null,
  ends_at         timestamptz
);
create unique index entitlements_live on entitlements (tenant_id, subscription_id, feature) where ends_at is null;

create table quotas (
  quota_id        uuid primary key,
  tenant_id       uuid not null,
  subscription_id uuid not null,
  name            text not null,
  unit            text not null,
  hard_limit      numeric(38,0) not null,
  plan_version_id uuid not null,
  starts_at       timestamptz not null,
  ends_at         timestamptz
);
create unique index quotas_live on quotas (tenant_id, subscription_id, name) where ends_at is null;

do $$ declare t text; begin
  foreach t in array array['subscriptions', 'segments', 'entitlements', 'quotas'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy %I on %I for select to berth_tenant using (tenant_id = app_tenant_id())', t || '_own', t);
    execute format('create policy %I on %I for all to berth_ops using (true) with check (true)', t || '_ops', t);
    execute format('grant select on %I to berth_tenant', t);
    execute format('grant select, insert, update on %I to berth_ops', t);
  end loop;
end $$;
revoke select on subscriptions from berth_tenant;
grant select (subscription_id, marketplace, tenant_id, state, suspended_source, name, plan_version_id, external_offer_id, external_plan_id, quantity,
  term_starts_at, term_ends_at, term_unit, ends_at, ended_at, activate_by, acknowledged_at, is_test, superseded_by, version, created_at, updated_at, external_subscription_id)
  on subscriptions to berth_tenant;
grant select on plan_versions to berth_tenant, berth_intake;
grant select, insert on plan_versions to berth_ops;
grant select, insert on fulfillment_events to berth_ops;
grant select, insert, update on subscription_aliases, change_requests, landing_sessions to berth_ops;

insert into global_tables values
  ('plan_versions', 'the catalog is one for all tenants'),
  ('subscription_aliases', 'foreign ids, resolved before a tenant is known; operators only'),
  ('fulfillment_events', 'may name a purchase that has no tenant yet; operators only'),
  ('change_requests', 'decided before a tenant context exists; operators only'),
  ('landing_sessions', 'a visitor has no tenant yet; operators only');

-- What a purchase holds now, folded from usage intake for decisions that cannot wait for an hour's close.
create table subscription_usage (
  subscription_id uuid primary key,
  tenant_id       uuid not null,
  last_usage      jsonb not null,
  observed_at     timestamptz not null
);
alter table subscription_usage enable row level security;
alter table subscription_usage force row level security;
create policy subscription_usage_own on subscription_usage for select to berth_tenant using (tenant_id = app_tenant_id());
create policy subscription_usage_ops on subscription_usage for all to berth_ops using (true) with check (true);
create policy subscription_usage_intake on subscription_usage for all to berth_intake using (tenant_id = any(app_tenant_ids())) with check (tenant_id = any(app_tenant_ids()));
grant select on subscription_usage to berth_tenant;
grant select, insert, update on subscription_usage to berth_ops, berth_intake;
