-- expand: an order that the publisher rejects before it is in force (Google), and whether its buyer's sign-up with it.
alter table publisher_changes add column also_buyer boolean not null default false;
alter table publisher_changes drop constraint publisher_changes_kind_check;
alter table publisher_changes add constraint publisher_changes_kind_check check (kind in ('plan', 'quantity', 'cancel', 'reject'));
