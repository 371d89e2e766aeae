-- expand: a cluster whose software is being changed.
alter table clusters drop constraint clusters_phase_check;
alter table clusters add constraint clusters_phase_check check (phase in
  ('requested', 'preflight', 'planned', 'approval', 'provisioning', 'configuring', 'validating', 'active', 'upgrading', 'degraded', 'failed',
   'retiring', 'retired'));
create index operations_upgrading on operations (cluster_id) where kind = 'upgrade_cluster' and state = 'running';
