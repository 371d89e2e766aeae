-- expand: how a submission ended of which no answer came, as a read-back or a usage report told it later. The runs that saw it are
-- forgotten one day, so what they saw stands here; it is the item's receipt.
create table late_outcomes (
  item_id           uuid primary key references submission_items,
  tenant_id         uuid not null,
  subscription_id   uuid not null,
  outcome           text not null check (outcome in ('accepted', 'not_taken')),
  source            text not null check (source in ('read_back', 'usage_report')),
  reconciliation_id uuid not null,
  report_id         uuid references usage_reports,
  evidence          jsonb not null,
  at                timestamptz not null,
  check ((source = 'usage_report') = (report_id is not null))
);
create index late_outcomes_by_tenant on late_outcomes (tenant_id);
create trigger late_outcomes_frozen before update or delete on late_outcomes for each row execute function refuse_change();
alter table late_outcomes enable row level security;
alter table late_outcomes force row level security;
create policy late_outcomes_own on late_outcomes for select to berth_tenant using (tenant_id = (select app_tenant_id()));
create policy late_outcomes_ops on late_outcomes for all to berth_ops using (true) with check (true);
-- The evidence may name other purchases of the same sum: it is not a tenant's to read.
grant select (item_id, tenant_id, subscription_id, outcome, source, at) on late_outcomes to berth_tenant;
grant select, insert on late_outcomes to berth_ops;
