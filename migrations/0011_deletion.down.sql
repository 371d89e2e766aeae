alter table tenants drop column erased_at;
alter table subscriptions drop column erased_at;
alter table subscriptions drop column data_deletion_due_at;
