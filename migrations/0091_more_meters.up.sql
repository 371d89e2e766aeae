-- expand: meters that count a level (`max`, `latest`) or amounts told once (`sum`), and the samples of the latter. Whoever was taken
-- before is still taken, so no row has to be read for it.
alter table series drop constraint if exists series_kind_check,
  add constraint series_kind_check check (kind in ('gauge_integral', 'max', 'latest', 'counter', 'sum')) not valid;
alter table usage_events drop constraint if exists usage_events_kind_check,
  add constraint usage_events_kind_check check (kind in ('gauge', 'counter', 'delta')) not valid;
