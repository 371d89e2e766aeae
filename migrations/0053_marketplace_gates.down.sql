drop index if exists submission_items_by_gate;
alter table submission_items drop column if exists gate;
delete from global_tables where table_name = 'marketplace_gates';
drop table if exists marketplace_gates;
