delete from global_tables where table_name = 'closing_steps';
drop table if exists closing_steps;
drop table if exists closing_facts;
drop index if exists ledger_entries_from_outside;
alter table carry_ins drop column if exists position;
alter table ledger_entries drop column if exists position;
alter table usage_events drop column if exists position;
drop sequence if exists metering_order;
