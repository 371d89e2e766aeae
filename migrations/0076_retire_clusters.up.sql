-- expand: a cluster that gets no more placements, and the end of a cluster's life.
alter table clusters add column cordoned_at timestamptz;
alter table clusters drop constraint clusters_phase_check;
alter table clusters add constraint clusters_phase_check check (phase in
  ('requested', 'preflight', 'planned', 'provisioning', 'configuring', 'validating', 'active', 'degraded', 'failed', 'retiring', 'retired'));
-- A retired cluster is gone, and only a retired one is.
alter table clusters add constraint clusters_retired_check check ((phase = 'retired') = (deleted_at is not null));
