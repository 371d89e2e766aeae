drop index if exists submission_items_due;
create index submission_items_by_gate on submission_items (marketplace, gate, hard_at) where settled_at is null;
