-- expand: changes and cancellations that the publisher asks for, with the buyer's consent.
create table publisher_changes (
  publisher_change_id   uuid primary key,
  subscription_id       uuid not null references subscriptions,
  kind                  text not null check (kind in ('plan', 'quantity', 'cancel')),
  to_external_plan_id   text,
  to_quantity           integer check (to_quantity > 0),
  reason                text not null,
  requested_by          text not null,
  -- requested: not known to have been sent; sent: the marketplace works on it; unknown: it never told, a person looks.
  state                 text not null check (state in ('requested', 'sent', 'succeeded', 'failed', 'superseded', 'refused', 'unknown')),
  external_operation_id text,
  error_code            text,
  error_detail          text,
  created_at            timestamptz not null,
  sent_at               timestamptz,
  updated_at            timestamptz not null,
  check ((kind = 'plan') = (to_external_plan_id is not null)),
  check ((kind = 'quantity') = (to_quantity is not null))
);
create index publisher_changes_by_subscription on publisher_changes (subscription_id, created_at desc);
-- Two at once would race there, and the later answer would win.
create unique index publisher_changes_one_open on publisher_changes (subscription_id) where state in ('requested', 'sent');
alter table publisher_changes enable row level security;
alter table publisher_changes force row level security;
create policy publisher_changes_ops on publisher_changes for all to berth_ops using (true) with check (true);
grant select, insert, update on publisher_changes to berth_ops;
insert into global_tables values ('publisher_changes', 'asked for by partner operations on a purchase that may have no tenant yet; operators only');
