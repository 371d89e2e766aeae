-- expand: a marketplace has deleted its record of a purchase, and what we keep of its buyer goes too.
alter table subscriptions add column data_deletion_due_at timestamptz;
alter table subscriptions add column erased_at timestamptz;
-- Set once name, slug and contact are pseudonyms. Usage records, items and ledger go on naming the tenant by its id only.
alter table tenants add column erased_at timestamptz;
