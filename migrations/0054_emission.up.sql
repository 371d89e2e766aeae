-- expand: how usage of a listing is emitted, from an hour's edge on. It holds for all its purchases, whatever version they pinned.
create table listing_emissions (
  marketplace       text not null,
  external_offer_id text not null,
  from_at           timestamptz not null check (date_trunc('hour', from_at, 'UTC') = from_at),
  emission          text not null check (emission in ('live', 'shadow', 'invoice', 'none')),
  recorded_at       timestamptz not null,
  primary key (marketplace, external_offer_id, from_at)
);
-- Hours are closed by what was in force: only a row that has not begun may still be replaced.
create function refuse_begun_emission() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or old.from_at <= new.recorded_at then
    raise exception 'the emission of a listing that is in force is not changed' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger listing_emissions_frozen before update or delete on listing_emissions for each row execute function refuse_begun_emission();
insert into global_tables values ('listing_emissions', 'the catalog''s word on a listing; names no tenant');
grant select on listing_emissions to berth_tenant;
grant select, insert, update on listing_emissions to berth_ops;

alter table submission_items drop constraint submission_items_state_check;
alter table submission_items add constraint submission_items_state_check check (state in
  ('pending', 'held', 'in_flight', 'unknown', 'deferred', 'accepted', 'conflict', 'rejected', 'expired', 'shadow', 'invoiced'));
-- A line that holds shadow records compares with what another kit sent.
alter table reconciliation_lines add column shadow boolean not null default false;
