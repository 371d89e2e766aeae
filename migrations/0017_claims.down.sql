delete from global_tables where table_name = 'claims';
drop table claims;
