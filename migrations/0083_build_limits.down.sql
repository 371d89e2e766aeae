delete from global_tables where table_name = 'build_limit_overrides';
drop table if exists build_limit_overrides;
