delete from global_tables where table_name in ('clusters', 'operation_steps');
drop table operation_steps;
drop table operations;
drop table placement_credentials;
drop table placements;
drop table clusters;
