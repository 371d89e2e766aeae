create or replace function refuse_changed_columns() returns trigger language plpgsql as $$
declare col text;
begin
  if tg_op = 'DELETE' then raise exception 'rows of % are never deleted', tg_table_name using errcode = 'restrict_violation'; end if;
  -- Arguments: columns that may be set once (from null) after a leading '?', others never.
  foreach col in array tg_argv loop
    if left(col, 1) = '?' then
      col := substr(col, 2);
      if to_jsonb(old) -> col <> 'null'::jsonb and to_jsonb(old) -> col is distinct from to_jsonb(new) -> col then
        raise exception '%.% is set once', tg_table_name, col using errcode = 'restrict_violation';
      end if;
    elsif to_jsonb(old) -> col is distinct from to_jsonb(new) -> col then
      raise exception '%.% is immutable', tg_table_name, col using errcode = 'restrict_violation';
    end if;
  end loop;
  return new;
end $$;
do $$
declare t record;
begin
  for t in select tgrelid::regclass as tbl, tgname, tgargs, tgenabled from pg_trigger where tgfoid = 'refuse_changed_columns'::regproc and tgname like '%\_frozen' and not tgisinternal loop
    execute format('drop trigger %I on %s', left(t.tgname, -7) || '_kept', t.tbl);
    execute format('drop trigger %I on %s', t.tgname, t.tbl);
    execute format('create trigger %I before update or delete on %s for each row execute function refuse_changed_columns(%s)', t.tgname, t.tbl,
      (select string_agg(quote_literal(convert_from(decode(replace(a, ' ', ''), 'hex'), 'UTF8')), ', ' order by n)
         from regexp_split_to_table(regexp_replace(encode(t.tgargs, 'hex'), '(..)', '\1 ', 'g'), '00 ') with ordinality as x(a, n) where a <> ''));
    -- Whoever switched it off finds it so.
    if t.tgenabled = 'D' then execute format('alter table %s disable trigger %I', t.tbl, t.tgname); end if;
  end loop;
end $$;
drop function freeze_columns(regclass, text[]);
