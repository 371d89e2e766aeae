-- expand: a finding for a quota that a change has raised above the room of its cluster.
do $$
declare kinds text;
begin
  select pg_get_constraintdef(oid) into strict kinds from pg_constraint where conname = 'findings_kind_check' and conrelid = 'findings'::regclass;
  alter table findings drop constraint findings_kind_check;
  execute 'alter table findings add constraint findings_kind_check ' || replace(kinds, 'ARRAY[', 'ARRAY[''room_exceeded''::text, ');
end $$;
