alter table usage_bindings drop column held_from;
drop index subscriptions_superseded_by;
drop index subscriptions_superseding;
