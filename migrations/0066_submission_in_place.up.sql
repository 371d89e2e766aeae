-- An item is claimed and an attempt is answered in place: a new version of the row that stays on its page, and changes no indexed
-- column, needs no new index entries (HOT). So pages keep room: an item changes twice in its life, and an attempt is written
-- small and grows by the answer.
alter table submission_items set (fillfactor = 50);
alter table submission_attempts set (fillfactor = 25);
-- Its predicate made every answer touch every index. Open attempts are looked for by their items, which (item_id, number) serves.
drop index submission_attempts_open;
-- Attempts are only ever read through their item.
drop index submission_attempts_by_tenant;
