-- expand: a write-off waits for a second person; prices, so that units have a money figure with its source.
alter table findings add column proposal jsonb;
alter table findings add constraint findings_proposal_open check (proposal is null or settlement is null);

-- What a unit costs from an instant on, as somebody read it: in a listing, or in one purchase's private offer. A correction is a newer row.
create table prices (
  price_id          uuid primary key,
  marketplace       text not null,
  external_offer_id text not null,
  external_plan_id  text not null,
  dimension         text not null,
  -- Negotiated for one purchase; null is the list price.
  subscription_id   uuid,
  currency          text not null check (currency ~ '^[A-Z]{3}$'),
  unit_price        numeric not null check (unit_price >= 0),
  effective_from    timestamptz not null,
  source            text not null check (length(source) between 3 and 200),
  recorded_at       timestamptz not null,
  recorded_by       text not null
);
create index prices_by_plan on prices (marketplace, external_offer_id, external_plan_id, dimension, effective_from);
create trigger prices_frozen before update or delete on prices for each row execute function refuse_change();
grant select, insert on prices to berth_ops;
insert into global_tables values ('prices', 'list prices and negotiated prices of all purchases; operators only');

-- Money given back, beside the records it is about: those never change.
create table credits (
  credit_id          uuid primary key,
  tenant_id          uuid not null,
  subscription_id    uuid not null,
  marketplace        text not null,
  record_id          uuid references usage_records,
  finding_id         uuid references findings,
  dimension          text not null,
  hour               timestamptz not null,
  units              numeric not null check (units > 0),
  -- Unknown as long as the price is.
  amount             numeric check (amount >= 0),
  currency           text check (currency ~ '^[A-Z]{3}$'),
  channel            text not null check (channel in ('azure_claim', 'aws_billing_adjustment', 'gcp_case')),
  invoice_reference  text,
  external_reference text,
  reason             text not null,
  state              text not null check (state in ('open', 'completed', 'failed')),
  deadline           timestamptz,
  created_by         text not null,
  created_at         timestamptz not null,
  outcome            jsonb,
  ended_at           timestamptz,
  check ((amount is null) = (currency is null)),
  check ((state = 'open') = (ended_at is null))
);
create index credits_by_tenant on credits (tenant_id, credit_id);
create index credits_by_hour on credits (hour, credit_id);
create unique index credits_one_a_finding on credits (finding_id) where state <> 'failed';
create trigger credits_frozen before update or delete on credits for each row
  execute function refuse_changed_columns('credit_id', 'tenant_id', 'subscription_id', 'marketplace', 'record_id', 'finding_id', 'dimension', 'hour', 'units', '?amount', '?currency',
    'channel', 'invoice_reference', '?external_reference', 'reason', 'deadline', 'created_by', 'created_at', '?outcome', '?ended_at');
alter table credits enable row level security;
alter table credits force row level security;
create policy credits_own on credits for select to berth_tenant using (tenant_id = app_tenant_id());
create policy credits_ops on credits for all to berth_ops using (true) with check (true);
grant select (credit_id, tenant_id, subscription_id, marketplace, record_id, dimension, hour, units, amount, currency, channel, state, created_at, ended_at) on credits to berth_tenant;
grant select, insert, update on credits to berth_ops;
