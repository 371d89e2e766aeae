drop table credits;
delete from global_tables where table_name = 'prices';
drop table prices;
alter table findings drop column proposal;
