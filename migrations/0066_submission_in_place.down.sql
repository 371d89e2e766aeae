create index if not exists submission_attempts_by_tenant on submission_attempts (tenant_id);
create index if not exists submission_attempts_open on submission_attempts (item_id) where outcome is null;
alter table submission_attempts reset (fillfactor);
alter table submission_items reset (fillfactor);
