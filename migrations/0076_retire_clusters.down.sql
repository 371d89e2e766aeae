alter table clusters drop constraint if exists clusters_retired_check;
alter table clusters drop constraint if exists clusters_phase_check;
-- Clusters that are gone stay as they are: rows are kept.
alter table clusters add constraint clusters_phase_check check (phase in
  ('requested', 'preflight', 'planned', 'provisioning', 'configuring', 'validating', 'active', 'degraded', 'failed')) not valid;
alter table clusters drop column cordoned_at;
