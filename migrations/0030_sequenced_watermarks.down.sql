delete from global_tables where table_name in ('usage_numbers', 'usage_watermarks');
drop table usage_watermarks;
drop table usage_numbers;
