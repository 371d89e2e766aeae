-- expand: a finding for a channel of a marketplace that was closed. The kinds of before stay, whichever they are.
do $$
declare kinds text;
begin
  select pg_get_constraintdef(oid) into strict kinds from pg_constraint where conname = 'findings_kind_check' and conrelid = 'findings'::regclass;
  alter table findings drop constraint findings_kind_check;
  execute 'alter table findings add constraint findings_kind_check ' || replace(kinds, 'ARRAY[', 'ARRAY[''channel_lost''::text, ');
end $$;
