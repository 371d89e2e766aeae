delete from global_tables where table_name = 'cluster_plans';
drop table cluster_plans;
alter table clusters drop constraint if exists clusters_phase_check;
-- A cluster that waits for a decision stays as it is: rows are kept.
alter table clusters add constraint clusters_phase_check check (phase in
  ('requested', 'preflight', 'planned', 'provisioning', 'configuring', 'validating', 'active', 'degraded', 'failed', 'retiring', 'retired')) not valid;
