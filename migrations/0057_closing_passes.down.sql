alter table series reset (fillfactor);
drop index series_open;
create index series_due on series (next_hour, shard) where completed_at is null;
delete from global_tables where table_name = 'series_marks';
drop table series_marks;
