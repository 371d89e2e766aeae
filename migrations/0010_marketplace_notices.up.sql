-- expand: what marketplaces tell people about a purchase: advisories, cancellation requests, renewals, billing adjustments.
create table marketplace_notices (
  notice_id       uuid primary key,
  marketplace     text not null,
  kind            text not null check (kind in ('advisory', 'cancellation_request', 'renewal', 'billing_adjustment', 'spend')),
  external_id     text not null,
  -- Known once the purchase is; an agreement may be spoken of before its licence is.
  subscription_id uuid references subscriptions,
  external_ref    text not null,
  state           text not null check (state in ('open', 'closed')),
  status          text not null,
  due_at          timestamptz,
  detail          jsonb not null,
  occurred_at     timestamptz not null,
  created_at      timestamptz not null,
  updated_at      timestamptz not null,
  unique (marketplace, kind, external_id)
);
create index marketplace_notices_open on marketplace_notices (kind, due_at) where state = 'open';
create index marketplace_notices_by_subscription on marketplace_notices (subscription_id) where subscription_id is not null;
alter table marketplace_notices enable row level security;
alter table marketplace_notices force row level security;
create policy marketplace_notices_ops on marketplace_notices for all to berth_ops using (true) with check (true);
grant select, insert, update on marketplace_notices to berth_ops;
insert into global_tables values ('marketplace_notices', 'may speak of a purchase that is not known yet, and of suspicions about its buyer; operators only');
