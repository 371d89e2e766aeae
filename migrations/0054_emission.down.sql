alter table reconciliation_lines drop column if exists shadow;
alter table submission_items drop constraint if exists submission_items_state_check;
-- Items that were never sent stay as they are: items are not deleted.
alter table submission_items add constraint submission_items_state_check check (state in
  ('pending', 'held', 'in_flight', 'unknown', 'deferred', 'accepted', 'conflict', 'rejected', 'expired')) not valid;
delete from global_tables where table_name = 'listing_emissions';
drop table if exists listing_emissions;
drop function if exists refuse_begun_emission();
