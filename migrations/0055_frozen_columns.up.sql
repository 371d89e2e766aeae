-- What a trigger guards is looked at in its condition: a row whose frozen columns stay as they are, which is every allowed update,
-- costs no call of a function. Before, each update turned both rows into JSON once for every column.
create or replace function refuse_changed_columns() returns trigger language plpgsql as $$
declare
  col text;
  before jsonb;
  after jsonb;
begin
  if tg_op = 'DELETE' then raise exception 'rows of % are never deleted', tg_table_name using errcode = 'restrict_violation'; end if;
  before := to_jsonb(old);
  after := to_jsonb(new);
  -- Arguments: columns that may be set once (from null) after a leading '?', others never.
  foreach col in array tg_argv loop
    if left(col, 1) = '?' then
      col := substr(col, 2);
      if before -> col <> 'null'::jsonb and before -> col is distinct from after -> col then
        raise exception '%.% is set once', tg_table_name, col using errcode = 'restrict_violation';
      end if;
    elsif before -> col is distinct from after -> col then
      raise exception '%.% is immutable', tg_table_name, col using errcode = 'restrict_violation';
    end if;
  end loop;
  return new;
end $$;

-- Freezes columns of a table: those after a leading '?' once they are set, others at once; and no row is ever deleted.
create function freeze_columns(frozen_table regclass, variadic cols text[]) returns void language plpgsql as $$
declare
  name text := (select relname from pg_class where oid = frozen_table);
  args text := (select string_agg(quote_literal(c), ', ') from unnest(cols) c);
  changed text := (
    select string_agg(
      case when left(c, 1) = '?' then format('(old.%1$I is not null and old.%1$I is distinct from new.%1$I)', substr(c, 2))
           else format('old.%1$I is distinct from new.%1$I', c) end, ' or ')
      from unnest(cols) c);
begin
  execute format('drop trigger if exists %I on %s', name || '_frozen', frozen_table);
  execute format('drop trigger if exists %I on %s', name || '_kept', frozen_table);
  execute format('create trigger %I before update on %s for each row when (%s) execute function refuse_changed_columns(%s)', name || '_frozen', frozen_table, changed, args);
  execute format('create trigger %I before delete on %s for each row execute function refuse_changed_columns()', name || '_kept', frozen_table);
end $$;
revoke execute on function freeze_columns(regclass, text[]) from public;

do $$
declare t record;
begin
  for t in select tgrelid::regclass as tbl, tgargs from pg_trigger where tgfoid = 'refuse_changed_columns'::regproc and not tgisinternal loop
    -- Arguments are kept one after another, each with a zero byte at its end.
    perform freeze_columns(t.tbl, variadic (select array_agg(convert_from(decode(replace(a, ' ', ''), 'hex'), 'UTF8') order by n)
      from regexp_split_to_table(regexp_replace(encode(t.tgargs, 'hex'), '(..)', '\1 ', 'g'), '00 ') with ordinality as x(a, n) where a <> ''));
  end loop;
end $$;
