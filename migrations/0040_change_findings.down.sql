alter table change_requests drop column if exists from_external_plan_id;
alter table change_requests drop column if exists from_quantity;
-- Forced row security hides the rows from their owner too.
alter table findings no force row level security;
delete from findings where kind in ('change_in_force', 'drift.failed', 'suspended_long');
alter table findings force row level security;
do $$
declare kinds text;
begin
  select pg_get_constraintdef(oid) into kinds from pg_constraint where conname = 'findings_kind_check' and conrelid = 'findings'::regclass;
  alter table findings drop constraint findings_kind_check;
  execute 'alter table findings add constraint findings_kind_check '
    || replace(kinds, '''change_in_force''::text, ''drift.failed''::text, ''suspended_long''::text, ', '');
end $$;
