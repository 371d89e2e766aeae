-- expand: the order in which closing met what came from outside, so that an installation's metering can be replayed (ADR 0020).
create sequence metering_order;
grant usage on sequence metering_order to berth_ops, berth_intake;

-- Taken under the shards' fence: of two rows of one shard the one that was there first has the smaller number. Null: older than this column.
alter table usage_events add column position bigint;
-- Only of rows that no closing made: a marketplace's answer, a missed deadline, a person's settlement.
alter table ledger_entries add column position bigint;
alter table carry_ins add column position bigint;
create index ledger_entries_from_outside on ledger_entries (position) where position is not null;

-- What a closing read of a purchase, noted whenever it differs from what was noted last.
create table closing_facts (
  position        bigint primary key default nextval('metering_order'),
  tenant_id       uuid not null,
  subscription_id uuid not null,
  hash            text not null,
  facts           jsonb not null,
  noted_at        timestamptz not null
);
create index closing_facts_by_subscription on closing_facts (subscription_id, position desc);
create index closing_facts_by_tenant on closing_facts (tenant_id);

-- What a closer did with one shard: closed an hour of these series, or absorbed what came late for those.
create table closing_steps (
  position      bigint primary key default nextval('metering_order'),
  kind          text not null check (kind in ('absorb', 'close')),
  shard         smallint not null,
  hour          timestamptz,
  root_sequence bigint,
  body          jsonb not null,
  at            timestamptz not null,
  check ((kind = 'close') = (hour is not null and root_sequence is not null))
);
create unique index closing_steps_by_root on closing_steps (shard, root_sequence) where kind = 'close';

create trigger closing_facts_frozen before update or delete on closing_facts for each row execute function refuse_change();
create trigger closing_steps_frozen before update or delete on closing_steps for each row execute function refuse_change();

alter table closing_facts enable row level security;
alter table closing_facts force row level security;
create policy closing_facts_own on closing_facts for select to berth_tenant using (tenant_id = app_tenant_id());
create policy closing_facts_ops on closing_facts for all to berth_ops using (true) with check (true);
grant select on closing_facts to berth_tenant;
grant select, insert on closing_facts, closing_steps to berth_ops;
insert into global_tables values ('closing_steps', 'the order of closings over many tenants'' series; ids and hours only, operators only');
