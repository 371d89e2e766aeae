-- expand: findings for usage that cannot be built yet and for a step that a marketplace does not take. The kinds of before stay,
-- whichever there are.
do $$
declare
  rule text;
begin
  select pg_get_constraintdef(oid) into strict rule from pg_constraint
   where conrelid = 'findings'::regclass and conname = 'findings_kind_check';
  alter table findings drop constraint findings_kind_check;
  execute 'alter table findings add constraint findings_kind_check '
    || regexp_replace(rule, '\]', ', ''usage_unbuilt''::text, ''marketplace_stuck''::text]');
end $$;
