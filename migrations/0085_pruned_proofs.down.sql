revoke delete on conformance_runs from berth_ops;
drop function if exists prune_terraform_states(timestamptz, integer, integer);
drop trigger if exists terraform_state_versions_kept on terraform_state_versions;
create trigger terraform_state_versions_kept before delete on terraform_state_versions for each row execute function refuse_changed_columns();
drop function if exists refuse_newest_state();
