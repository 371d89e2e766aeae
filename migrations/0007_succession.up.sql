-- expand: a purchase that takes another one's place (renewals and replacements that are purchases of their own).
create index subscriptions_superseding on subscriptions (marketplace, (truth #>> '{supersedes,kind}'), (truth #>> '{supersedes,externalId}'))
  where truth #>> '{supersedes,externalId}' is not null;
create index subscriptions_superseded_by on subscriptions (superseded_by) where superseded_by is not null;
-- The purchase has ended and a successor may come: samples after this instant are taken, and count for nobody until it does.
alter table usage_bindings add column held_from timestamptz;
