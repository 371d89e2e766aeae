-- What waits at a marketplace in the order in which it is sent: a claim reads its first rows instead of sorting all of them.
drop index submission_items_by_gate;
create index submission_items_due on submission_items (marketplace, hard_at, hour, item_id) where settled_at is null;
