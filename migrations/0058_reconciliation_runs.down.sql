delete from global_tables where table_name in ('reconciliation_runs', 'reconciliation_steps');
drop index if exists findings_standing;
drop table if exists reconciliation_steps;
drop table if exists reconciliation_runs;
