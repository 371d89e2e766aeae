-- expand: how fast a marketplace may be asked and whether it is asked at all, shared by all workers (architecture §1).
create table marketplace_gates (
  marketplace text not null,
  -- What has a limit of its own there: AWS a region, Google a service; '' the seller's account.
  gate        text not null,
  tokens      double precision not null,
  -- Real time: rates are the marketplace's own (law 9).
  tokens_at   timestamptz not null,
  state       text not null default 'closed' check (state in ('closed', 'open', 'half_open')),
  failures    integer not null default 0,
  pause_ms    bigint not null default 0,
  -- Of the last failure, in business and in real time.
  failed_at   timestamptz,
  failed_real timestamptz,
  -- When (business time) it last spoke about items, whatever it said of them.
  answered_at timestamptz,
  -- Until then (real time) somebody is probing.
  probe_until timestamptz,
  reason      text,
  -- Since when (business time) it is not closed.
  since       timestamptz,
  primary key (marketplace, gate)
);
insert into global_tables values ('marketplace_gates', 'a marketplace''s limits and health; operators only');
grant select, insert, update on marketplace_gates to berth_ops;

alter table submission_items add column gate text not null default '';
create index submission_items_by_gate on submission_items (marketplace, gate, hard_at) where settled_at is null;
