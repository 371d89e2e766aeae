create table subscription_usage (
  subscription_id uuid primary key,
  tenant_id       uuid not null,
  last_usage      jsonb not null,
  observed_at     timestamptz not null
);
alter table subscription_usage enable row level security;
alter table subscription_usage force row level security;
create policy subscription_usage_own on subscription_usage for select to berth_tenant using (tenant_id = (select app_tenant_id()));
create policy subscription_usage_ops on subscription_usage for all to berth_ops using (true) with check (true);
create policy subscription_usage_intake on subscription_usage for all to berth_intake
  using (tenant_id = any((select app_tenant_ids())::uuid[])) with check (tenant_id = any((select app_tenant_ids())::uuid[]));
grant select on subscription_usage to berth_tenant;
grant select, insert, update on subscription_usage to berth_ops, berth_intake;
