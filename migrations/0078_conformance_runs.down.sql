alter table placements drop column if exists endpoint_description;
delete from global_tables where table_name = 'conformance_runs';
drop table if exists conformance_runs;
