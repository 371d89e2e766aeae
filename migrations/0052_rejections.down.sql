-- Forced row security hides the rows from their owner too.
alter table publisher_changes no force row level security;
delete from publisher_changes where kind = 'reject';
alter table publisher_changes force row level security;
alter table publisher_changes drop constraint if exists publisher_changes_kind_check;
alter table publisher_changes add constraint publisher_changes_kind_check check (kind in ('plan', 'quantity', 'cancel'));
alter table publisher_changes drop column if exists also_buyer;
