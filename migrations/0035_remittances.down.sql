delete from global_tables where table_name in ('remittances', 'remittance_lines', 'remittance_allocations');
drop table remittance_allocations;
drop table remittance_lines;
drop table remittances;
drop function check_remittance_sum();
drop index submission_items_by_receipt;
