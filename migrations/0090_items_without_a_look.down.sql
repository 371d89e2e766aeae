alter table submission_items drop constraint if exists submission_items_record_id_fkey,
  add constraint submission_items_record_id_fkey foreign key (record_id) references usage_records not valid;
