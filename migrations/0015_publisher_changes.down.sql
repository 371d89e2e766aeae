delete from global_tables where table_name = 'publisher_changes';
drop table publisher_changes;
