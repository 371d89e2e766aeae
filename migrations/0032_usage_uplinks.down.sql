delete from global_tables where table_name = 'usage_uplinks';
drop table usage_uplinks;
