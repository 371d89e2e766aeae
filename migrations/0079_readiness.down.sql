-- Forced row security hides the rows from their owner too.
alter table findings no force row level security;
delete from findings where kind in ('not_ready', 'eta_after_deadline');
alter table findings force row level security;
do $$
declare kinds text;
begin
  select pg_get_constraintdef(oid) into kinds from pg_constraint where conname = 'findings_kind_check' and conrelid = 'findings'::regclass;
  if kinds is null then return; end if;
  alter table findings drop constraint findings_kind_check;
  execute 'alter table findings add constraint findings_kind_check ' ||
    replace(kinds, '''not_ready''::text, ''eta_after_deadline''::text, ', '');
end $$;
alter table placements drop column if exists build_limits;
delete from global_tables where table_name in ('readiness_decisions', 'shape_catalogue', 'provisioning_switches');
drop table if exists provisioning_switches;
drop table if exists shape_catalogue;
drop table if exists readiness_decisions;
