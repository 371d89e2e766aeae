drop table usage_record_splits;
alter table usage_events drop column split;
