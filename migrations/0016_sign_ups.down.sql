delete from global_tables where table_name = 'buyer_sign_ups';
drop table buyer_sign_ups;
