-- An item is written by the statement that writes its record, and neither is ever deleted or renamed (0005): the key's own look at the
-- record, with a lock on its row, cost each closing a third of what its items cost. `findStrays` looks for items without a record.
alter table submission_items drop constraint if exists submission_items_record_id_fkey;
