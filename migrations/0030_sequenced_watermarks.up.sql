-- expand: a source's watermark counts once every number below it has been seen; until then it waits here.
-- `usage_sources.last_sequence` is from now on the number up to which all have been seen.

-- Runs of numbers that have been answered, above `last_sequence`. Inserted beside the samples, without a unique key: nobody waits.
create table usage_numbers (
  source text not null,
  low    numeric(38,0) not null,
  high   numeric(38,0) not null,
  check (low > 0 and high >= low)
);
create index usage_numbers_by_source on usage_numbers (source, low);

create table usage_watermarks (
  source      text not null,
  sequence    numeric(38,0) not null,
  through     timestamptz not null,
  received_at timestamptz not null,
  principal   text not null,
  primary key (source, sequence)
);

grant select, insert, delete on usage_numbers, usage_watermarks to berth_intake, berth_ops;
insert into global_tables values
  ('usage_numbers', 'one cell serves many tenants; holds numbers of events, no usage'),
  ('usage_watermarks', 'one cell serves many tenants; holds no usage');
