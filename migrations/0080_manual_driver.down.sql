delete from global_tables where table_name in ('manual_clusters', 'manual_operations', 'manual_steps');
drop table if exists manual_steps;
drop table if exists manual_operations;
drop table if exists manual_clusters;
