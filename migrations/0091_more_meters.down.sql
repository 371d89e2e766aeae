-- What was counted in the meantime stays as it is: the build before reads it and takes no more of it.
alter table usage_events drop constraint if exists usage_events_kind_check,
  add constraint usage_events_kind_check check (kind in ('gauge', 'counter')) not valid;
alter table series drop constraint if exists series_kind_check,
  add constraint series_kind_check check (kind in ('gauge_integral', 'counter')) not valid;
