-- expand: which purchases the closing clock has made series of, by a mark for each group of them. A pass reads only groups whose
-- mark differs: most purchases do not change from one hour to the next.
create table series_marks (
  bucket smallint primary key check (bucket between 0 and 255),
  mark   text not null
);
insert into global_tables values ('series_marks', 'hashes of what the closing clock has read of all purchases; names no tenant');
grant select, insert, update on series_marks to berth_ops;

-- Every closing moves `next_hour` and the state of its series. With the hour in no index, and room on the page, such an update leaves
-- the indexes alone.
drop index series_due;
create index series_open on series (shard, subscription_id) where completed_at is null;
alter table series set (fillfactor = 50);
