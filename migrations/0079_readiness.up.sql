-- expand: what may be sold and built where, by whose word; shapes that were tried; a stop for all creation; limits of a build.
create table readiness_decisions (
  decision_id uuid primary key,
  variant     text not null,
  -- '*': everywhere.
  marketplace text not null,
  region      text not null,
  gate        text not null check (gate ~ '^[a-z][a-z0-9_.]{2,60}$'),
  state       text not null check (state in ('green', 'red', 'unknown')),
  reason      text not null check (length(reason) >= 3),
  decided_by  text not null,
  decided_at  timestamptz not null
);
-- The newest of a place and gate holds; the others are its history.
create index readiness_decisions_latest on readiness_decisions (variant, marketplace, region, gate, decision_id desc);

create table shape_catalogue (
  variant    text not null,
  region     text not null,
  os_version text not null,
  shape      text not null,
  state      text not null check (state in ('validated', 'unvalidated', 'unsupported')),
  reason     text not null check (length(reason) >= 3),
  decided_by text not null,
  decided_at timestamptz not null,
  primary key (variant, region, os_version, shape)
);

create table provisioning_switches (
  name       text primary key check (name in ('stop_creating')),
  is_on      boolean not null,
  reason     text not null,
  decided_by text not null,
  decided_at timestamptz not null
);

insert into global_tables values
  ('readiness_decisions', 'what may be sold where; operators only'),
  ('shape_catalogue', 'which shapes were tried; operators only'),
  ('provisioning_switches', 'stops of the whole installation; operators only');
grant select, insert on readiness_decisions to berth_ops;
grant select, insert, update on shape_catalogue, provisioning_switches to berth_ops;

-- What an entitlement may have built for it: {"maxNodes", "maxCostPerHour": {"amount", "currency"}}; null is no limit.
alter table placements add column build_limits jsonb;

do $$
declare kinds text;
begin
  select pg_get_constraintdef(oid) into strict kinds from pg_constraint where conname = 'findings_kind_check' and conrelid = 'findings'::regclass;
  alter table findings drop constraint findings_kind_check;
  execute 'alter table findings add constraint findings_kind_check ' ||
    replace(kinds, 'ARRAY[', 'ARRAY[''not_ready''::text, ''eta_after_deadline''::text, ');
end $$;
