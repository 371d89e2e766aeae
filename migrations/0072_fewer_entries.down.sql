create index hour_closings_by_tenant on hour_closings (tenant_id, hour);
create index ledger_entries_by_tenant on ledger_entries (tenant_id, hour);
create index submission_items_open on submission_items (hard_at, next_attempt_at) where settled_at is null;
