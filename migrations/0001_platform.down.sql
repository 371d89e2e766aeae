drop table calls;
drop table tasks;
drop table refusals;
drop table inbox;
drop table global_tables;
drop function app_tenant_ids();
drop function app_tenant_id();
