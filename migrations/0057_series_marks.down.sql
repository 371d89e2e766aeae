drop table series_marks;
delete from global_tables where table_name = 'series_marks';
