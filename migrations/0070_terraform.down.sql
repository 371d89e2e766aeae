delete from global_tables where table_name in ('driver_operations', 'driver_fences', 'terraform_clusters', 'terraform_credentials', 'terraform_state_versions', 'terraform_plans');
drop table if exists terraform_plans;
drop table if exists terraform_state_versions;
drop table if exists terraform_credentials;
drop table if exists terraform_clusters;
drop table if exists driver_fences;
drop table if exists driver_operations;
