-- Submission asks again and again for the items that wait for a suspension to end, and people for those that were refused: both read
-- all items there ever were. No claim and no acceptance of an item that was never held touches these indexes.
create index submission_items_held on submission_items (subscription_id) where hold_reason is not null and settled_at is null;
create index submission_items_not_accepted on submission_items (hour, record_id) where settled_at is not null and accepted_quantity is null;
