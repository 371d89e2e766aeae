-- expand: how much of a sample's value belongs to which labels, and how a record's quantity was split by them when it was frozen.
alter table usage_events add column split jsonb;

create table usage_record_splits (
  record_id uuid primary key references usage_records,
  tenant_id uuid not null,
  -- [{"labels": {...}, "quantity": "decimal text"}]; they add up to the record's quantity.
  parts     jsonb not null check (jsonb_typeof(parts) = 'array' and jsonb_array_length(parts) > 0)
);
create trigger usage_record_splits_frozen before update or delete on usage_record_splits for each row execute function refuse_change();
alter table usage_record_splits enable row level security;
alter table usage_record_splits force row level security;
create policy usage_record_splits_own on usage_record_splits for select to berth_tenant using (tenant_id = (select app_tenant_id()));
create policy usage_record_splits_ops on usage_record_splits for all to berth_ops using (true) with check (true);
grant select on usage_record_splits to berth_tenant;
grant select, insert on usage_record_splits to berth_ops;
