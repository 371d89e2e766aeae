-- expand: pairs of purchases that may be one under two keys of its marketplace (AWS: customer identifier and licence); a person decides.
create table purchase_joins (
  join_id     uuid primary key,
  former_id   uuid not null references subscriptions,
  next_id     uuid not null references subscriptions,
  state       text not null check (state in ('waiting', 'approved', 'rejected')),
  reason      text,
  decided_by  text,
  created_at  timestamptz not null,
  decided_at  timestamptz,
  unique (former_id, next_id),
  check ((state = 'waiting') = (decided_at is null)),
  check ((decided_at is null) = (decided_by is null))
);
create unique index purchase_joins_former on purchase_joins (former_id) where state = 'approved';
create unique index purchase_joins_next on purchase_joins (next_id) where state = 'approved';
create index purchase_joins_of_next on purchase_joins (next_id);
alter table purchase_joins enable row level security;
alter table purchase_joins force row level security;
create policy purchase_joins_ops on purchase_joins for all to berth_ops using (true) with check (true);
grant select, insert, update on purchase_joins to berth_ops;
insert into global_tables values ('purchase_joins', 'supposed of two purchases of which one has no tenant yet; operators only');
do $$
declare kinds text;
begin
  select pg_get_constraintdef(oid) into strict kinds from pg_constraint where conname = 'findings_kind_check' and conrelid = 'findings'::regclass;
  alter table findings drop constraint findings_kind_check;
  execute 'alter table findings add constraint findings_kind_check ' || replace(kinds, 'ARRAY[', 'ARRAY[''unjoined_purchase''::text, ');
end $$;
