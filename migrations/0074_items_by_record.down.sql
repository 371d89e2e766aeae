drop index submission_items_hours;
create index submission_items_by_tenant on submission_items (tenant_id, hour, item_id);
create index submission_items_by_hour on submission_items (hour, item_id);
