delete from global_tables where table_name = 'marketplace_notices';
drop table marketplace_notices;
