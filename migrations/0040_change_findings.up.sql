-- expand: findings of changes that came into force past our decision, of comparisons that failed and of long suspensions. Added to
-- whatever kinds there are by now.
do $$
declare kinds text;
begin
  select pg_get_constraintdef(oid) into kinds from pg_constraint where conname = 'findings_kind_check' and conrelid = 'findings'::regclass;
  alter table findings drop constraint findings_kind_check;
  execute 'alter table findings add constraint findings_kind_check '
    || replace(kinds, 'ARRAY[', 'ARRAY[''change_in_force''::text, ''drift.failed''::text, ''suspended_long''::text, ');
end $$;

-- What a refusal asks back where silence had accepted: what was in force at the decision.
alter table change_requests add column from_external_plan_id text;
alter table change_requests add column from_quantity integer;
