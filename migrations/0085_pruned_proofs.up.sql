-- expand: old versions of terraform's state and old conformance runs go. Serving roles still delete no state: it is done here, and never
-- the newest version of a cluster, whoever asks.
create function refuse_newest_state() returns trigger language plpgsql as $$
begin
  if not exists (select 1 from terraform_state_versions n where n.cluster_ref = old.cluster_ref and n.version > old.version) then
    raise exception 'the newest state of % is never deleted', old.cluster_ref using errcode = 'restrict_violation';
  end if;
  return old;
end $$;
drop trigger terraform_state_versions_kept on terraform_state_versions;
create trigger terraform_state_versions_kept before delete on terraform_state_versions for each row execute function refuse_newest_state();

create function prune_terraform_states(before timestamptz, keep integer, most integer) returns integer
language sql security definer set search_path = public, pg_temp as $$
  with gone as (
    delete from terraform_state_versions v
     where (v.cluster_ref, v.version) in (
       select old.cluster_ref, old.version
         from (select s.cluster_ref, s.version, s.written_at, row_number() over (partition by s.cluster_ref order by s.version desc) as place
                 from terraform_state_versions s) old
        where old.place > greatest(keep, 1) and old.written_at < before
        order by old.written_at limit most)
    returning 1)
  select count(*)::integer from gone
$$;
revoke all on function prune_terraform_states(timestamptz, integer, integer) from public;
grant execute on function prune_terraform_states(timestamptz, integer, integer) to berth_ops;
grant delete on conformance_runs to berth_ops;
