drop index operations_upgrading;
alter table clusters drop constraint if exists clusters_phase_check;
-- A cluster in the middle of an upgrade stays as it is: rows are kept.
alter table clusters add constraint clusters_phase_check check (phase in
  ('requested', 'preflight', 'planned', 'approval', 'provisioning', 'configuring', 'validating', 'active', 'degraded', 'failed', 'retiring',
   'retired')) not valid;
