-- expand: a day of usage events is dropped when nothing of it can be asked for any more. Serving roles have no DDL: it is done here.
-- Whether a day may go is asked by the caller, in the same transaction and under its own policies: the owner of forced policies sees no rows.
create function drop_usage_day(day date) returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
declare name text := 'usage_events_' || to_char(day, 'YYYYMMDD');
begin
  perform pg_advisory_xact_lock(7205321);
  if not exists (select 1 from pg_class c join pg_inherits i on i.inhrelid = c.oid
                  where c.relnamespace = 'public'::regnamespace and c.relname = name and i.inhparent = 'usage_events'::regclass) then
    return false;
  end if;
  execute format('alter table usage_events detach partition %I', name);
  execute format('drop table %I', name);
  return true;
end $$;
revoke all on function drop_usage_day(date) from public;
grant execute on function drop_usage_day(date) to berth_ops;

-- The days there are, without a look into the catalog for those who serve.
create function usage_days() returns setof date language sql stable security definer set search_path = public, pg_temp as $$
  select to_date(right(c.relname, 8), 'YYYYMMDD') from pg_class c join pg_inherits i on i.inhrelid = c.oid
   where i.inhparent = 'usage_events'::regclass and c.relname ~ '^usage_events_\d{8}$' order by 1
$$;
revoke all on function usage_days() from public;
grant execute on function usage_days() to berth_ops;
