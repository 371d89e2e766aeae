-- Every closing writes some twenty index entries a series, and every answer several more: those that no reader needs go.
-- Tenants read closings and the ledger by their purchases, which the keys begin with.
drop index hour_closings_by_tenant;
drop index ledger_entries_by_tenant;
-- What waits is looked for by its marketplace (submission_items_due), also where its deadline has passed.
drop index submission_items_open;
