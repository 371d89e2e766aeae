revoke select (ended_at, completed_at) on series from berth_intake;
create or replace function ensure_usage_day(day date) returns void language plpgsql security definer set search_path = public, pg_temp as $$
declare name text := 'usage_events_' || to_char(day, 'YYYYMMDD');
begin
  if day < date '2020-01-01' or day > date '2200-01-01' then
    raise exception 'no usage is kept for %', day using errcode = 'check_violation';
  end if;
  if to_regclass('public.' || name) is not null then return; end if;
  perform pg_advisory_xact_lock(7205321);
  if to_regclass('public.' || name) is not null then return; end if;
  -- Attaching takes a lock that lets readers and writers of other days go on; `partition of` would stop all of them.
  execute format('create table %I (like usage_events including defaults including constraints)', name);
  execute format('alter table usage_events attach partition %I for values from (%L) to (%L)', name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
end $$;
