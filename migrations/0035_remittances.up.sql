-- expand: a receipt leads back to its record.
create index submission_items_by_receipt on submission_items (receipt) where receipt is not null;

-- What a marketplace paid out, as its own file says it, and what it was for. A wrong import is voided, never changed.
create table remittances (
  remittance_id   uuid primary key,
  marketplace     text not null,
  reference       text not null,
  currency        text not null check (currency ~ '^[A-Z]{3}$'),
  gross           numeric not null,
  fee             numeric not null,
  tax             numeric not null,
  net             numeric not null,
  fx              numeric check (fx > 0),
  payout          numeric not null,
  payout_currency text not null check (payout_currency ~ '^[A-Z]{3}$'),
  content_hash    text not null,
  imported_at     timestamptz not null,
  imported_by     text not null,
  voided_at       timestamptz,
  voided_by       text,
  void_reason     text,
  check ((voided_at is null) = (voided_by is null) and (voided_at is null) = (void_reason is null))
);
create unique index remittances_by_reference on remittances (marketplace, reference) where voided_at is null;
create trigger remittances_frozen before update or delete on remittances for each row
  execute function refuse_changed_columns('remittance_id', 'marketplace', 'reference', 'currency', 'gross', 'fee', 'tax', 'net', 'fx', 'payout', 'payout_currency', 'content_hash', 'imported_at', 'imported_by',
    '?voided_at', '?voided_by', '?void_reason');

create table remittance_lines (
  remittance_id uuid not null references remittances,
  line          integer not null,
  month         text not null check (month ~ '^\d{4}-(0[1-9]|1[0-2])$'),
  -- The marketplace's own name of what was paid for, at the grain of its file: purchase, agreement or account.
  external_id   text,
  dimension     text,
  invoice       text,
  gross         numeric not null,
  fee           numeric not null,
  tax           numeric not null,
  net           numeric not null,
  payout        numeric not null,
  raw           jsonb not null,
  primary key (remittance_id, line)
);
create trigger remittance_lines_frozen before update or delete on remittance_lines for each row execute function refuse_change();

-- What the gross is for. Each version is whole: with its unallocated row it adds up to the gross. The newest one counts.
create table remittance_allocations (
  remittance_id   uuid not null references remittances,
  version         integer not null,
  ordinal         integer not null,
  kind            text not null check (kind in ('purchase', 'unallocated')),
  month           text check (month ~ '^\d{4}-(0[1-9]|1[0-2])$'),
  grain           text check (grain in ('purchase', 'agreement', 'account')),
  external_id     text,
  -- Only where the marketplace's grain names exactly one of our purchases.
  subscription_id uuid,
  dimension       text,
  invoice         text,
  amount          numeric not null,
  made_at         timestamptz not null,
  made_by         text not null,
  reason          text not null,
  primary key (remittance_id, version, ordinal),
  check ((kind = 'purchase') = (external_id is not null) and (kind = 'purchase') = (month is not null) and (kind = 'purchase') = (grain is not null))
);
create unique index remittance_allocations_one_rest on remittance_allocations (remittance_id, version) where kind = 'unallocated';
create index remittance_allocations_by_month on remittance_allocations (month, external_id) where kind = 'purchase';
create trigger remittance_allocations_frozen before update or delete on remittance_allocations for each row execute function refuse_change();
create function check_remittance_sum() returns trigger language plpgsql as $$
begin
  if (select sum(a.amount) from remittance_allocations a where a.remittance_id = new.remittance_id and a.version = new.version)
     is distinct from (select r.gross from remittances r where r.remittance_id = new.remittance_id) then
    raise exception 'the allocations of remittance % do not add up to its gross', new.remittance_id using errcode = 'check_violation';
  end if;
  return null;
end $$;
create constraint trigger remittance_allocations_add_up after insert on remittance_allocations deferrable initially deferred
  for each row execute function check_remittance_sum();

grant select, insert on remittance_lines, remittance_allocations to berth_ops;
grant select, insert, update on remittances to berth_ops;
insert into global_tables values
  ('remittances', 'a payout spans all tenants of a marketplace; operators only'),
  ('remittance_lines', 'a payout spans all tenants of a marketplace; operators only'),
  ('remittance_allocations', 'a payout spans all tenants of a marketplace; operators only');
