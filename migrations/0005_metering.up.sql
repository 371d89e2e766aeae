-- expand: usage intake, series and hours, frozen records, the ledger, submission, findings, reconciliation.

-- ---------------------------------------------------------------- intake
create table usage_sources (
  source        text primary key,
  watermark     timestamptz,
  last_sequence numeric(38,0) not null,
  received_at   timestamptz not null,
  principal     text not null
);

create table usage_bindings (
  placement_id    uuid not null,
  tenant_id       uuid not null,
  subscription_id uuid not null,
  source          text not null,
  valid_from      timestamptz not null,
  valid_until     timestamptz,
  primary key (placement_id, valid_from),
  check (valid_until is null or valid_until >= valid_from)
);
create unique index usage_bindings_open on usage_bindings (placement_id) where valid_until is null;
create index usage_bindings_by_subscription on usage_bindings (subscription_id);
create index usage_bindings_by_tenant on usage_bindings (tenant_id);

-- One row per accepted event id. A rejected event leaves none, so its id is not burnt.
create table usage_dedupe (
  principal    text not null,
  source       text not null,
  event_id     text not null,
  tenant_id    uuid not null,
  content_hash text not null,
  received_at  timestamptz not null,
  primary key (principal, source, event_id)
) partition by hash (principal, source, event_id);
do $$ begin
  for i in 0..7 loop
    execute format('create table usage_dedupe_%s partition of usage_dedupe for values with (modulus 8, remainder %s)', i, i);
  end loop;
end $$;
create index usage_dedupe_by_age on usage_dedupe (received_at);

create table usage_events (
  principal       text not null,
  source          text not null,
  event_id        text not null,
  occurred_at     timestamptz not null,
  tenant_id       uuid not null,
  subscription_id uuid not null,
  placement_id    uuid not null,
  metric          text not null,
  kind            text not null check (kind in ('gauge', 'counter')),
  value           numeric(38,0) not null check (value >= 0),
  epoch           text not null,
  sequence        numeric(38,0) not null,
  received_at     timestamptz not null,
  content_hash    text not null,
  primary key (principal, source, event_id, occurred_at)
) partition by range (occurred_at);
create index usage_events_by_series on usage_events (subscription_id, metric, occurred_at);
create index usage_events_by_placement on usage_events (placement_id, metric, occurred_at);
create index usage_events_by_tenant on usage_events (tenant_id, occurred_at);

-- Serving roles have no DDL: days are made here, and only sensible ones. A partition is owned by the owner and granted to nobody.
create function ensure_usage_day(day date) returns void language plpgsql security definer set search_path = public, pg_temp as $$
declare name text := 'usage_events_' || to_char(day, 'YYYYMMDD');
begin
  if day < date '2020-01-01' or day > date '2200-01-01' then
    raise exception 'no usage is kept for %', day using errcode = 'check_violation';
  end if;
  if to_regclass('public.' || name) is not null then return; end if;
  perform pg_advisory_xact_lock(7205321);
  if to_regclass('public.' || name) is not null then return; end if;
  -- Attaching takes a lock that lets readers and writers of other days go on; `partition of` would stop all of them.
  execute format('create table %I (like usage_events including defaults including constraints)', name);
  execute format('alter table usage_events attach partition %I for values from (%L) to (%L)', name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
end $$;
revoke all on function ensure_usage_day(date) from public;

create table rejected_events (
  rejected_id uuid primary key,
  principal   text not null,
  rejected_at timestamptz not null,
  event_id    text,
  code        text not null,
  detail      text not null,
  body_sample text not null
);
create index rejected_events_by_time on rejected_events (rejected_at desc, rejected_id desc);

-- ---------------------------------------------------------------- series and hours
create table series (
  subscription_id uuid not null,
  meter           text not null,
  tenant_id       uuid not null,
  marketplace     text not null,
  metric          text not null,
  kind            text not null check (kind in ('gauge_integral', 'counter')),
  source_kind     text not null check (source_kind in ('cell', 'engine')),
  shard           smallint not null check (shard between 0 and 63),
  first_hour      timestamptz not null,
  next_hour       timestamptz not null,
  ended_at        timestamptz,
  completed_at    timestamptz,
  -- The segment that covered the end of the last closed hour: if it turns out to have ended earlier, those hours are corrected.
  last_segment_id uuid,
  blocked_until   timestamptz,
  blocked_reason  text,
  state           jsonb not null,
  primary key (subscription_id, meter)
);
create index series_due on series (next_hour, shard) where completed_at is null;
create index series_by_tenant on series (tenant_id);

-- Hours of a metric that got samples (or a cut) after they were closed; emptied by the closer of the shard.
create table late_arrivals (
  subscription_id uuid not null,
  metric          text not null,
  hour            timestamptz not null,
  tenant_id       uuid not null,
  primary key (subscription_id, metric, hour)
);

create table hour_roots (
  shard         smallint not null,
  sequence      bigint not null,
  hour          timestamptz not null,
  claimed_by    text not null,
  root          text not null,
  previous_root text not null,
  leaves        integer not null,
  closed_at     timestamptz not null,
  primary key (shard, sequence)
);
create index hour_roots_by_hour on hour_roots (hour, shard);

create table hour_closings (
  subscription_id uuid not null,
  meter           text not null,
  hour            timestamptz not null,
  tenant_id       uuid not null,
  opening         jsonb not null,
  closing         jsonb not null,
  inputs          integer not null,
  inputs_digest   text not null,
  terms           jsonb not null,
  records         integer not null,
  carry_ins       integer not null,
  quality         text not null check (quality in ('measured', 'estimated')),
  closed_at       timestamptz not null,
  leaf_hash       text not null,
  shard           smallint not null,
  root_sequence   bigint not null,
  primary key (subscription_id, meter, hour)
);
create index hour_closings_by_root on hour_closings (shard, root_sequence);
create index hour_closings_by_tenant on hour_closings (tenant_id, hour);

create table usage_records (
  record_id        uuid primary key,
  tenant_id        uuid not null,
  subscription_id  uuid not null,
  marketplace      text not null,
  meter            text not null,
  segment_id       uuid not null,
  dimension        text not null,
  hour             timestamptz not null,
  base_quantity    numeric(38,0) not null check (base_quantity >= 0),
  quantity         numeric not null check (quantity >= 0),
  decimals         smallint not null,
  listed_unit      text not null,
  base_per_unit    numeric(38,0) not null,
  plan_version_id  uuid not null,
  external_plan_id text not null,
  starts_at        timestamptz not null,
  ends_at          timestamptz not null,
  quality          text not null check (quality in ('measured', 'estimated')),
  closed_at        timestamptz not null,
  unique (subscription_id, segment_id, dimension, hour)
);
create index usage_records_by_tenant on usage_records (tenant_id, hour, record_id);
create index usage_records_by_hour on usage_records (hour, record_id);

create table carry_ins (
  carry_in_id      uuid primary key,
  tenant_id        uuid not null,
  subscription_id  uuid not null,
  meter            text not null,
  segment_id       uuid not null,
  kind             text not null check (kind in ('deferred', 'late', 'credit')),
  stage            text not null check (stage in ('usage', 'billable')),
  cause            text not null,
  origin           text not null,
  from_hour        timestamptz not null,
  amount           numeric(38,0) not null check (amount <> 0),
  made_at          timestamptz not null,
  consumed_by_hour timestamptz,
  unique (subscription_id, meter, segment_id, origin)
);
create index carry_ins_open on carry_ins (subscription_id, meter) where consumed_by_hour is null;
create index carry_ins_by_tenant on carry_ins (tenant_id);

-- ---------------------------------------------------------------- the ledger: each term of the sum law has rows of its own
create table ledger_entries (
  subscription_id uuid not null,
  meter           text not null,
  hour            timestamptz not null,
  segment_id      uuid,
  term            text not null check (term in ('measured', 'estimated', 'adjustment', 'non_billable', 'included', 'pending', 'accepted', 'over_reported', 'deferred', 'remainder', 'loss')),
  cause           text not null,
  ref             text not null default '',
  tenant_id       uuid not null,
  quantity        numeric(38,0) not null,
  recorded_at     timestamptz not null,
  unique nulls not distinct (subscription_id, meter, hour, segment_id, term, cause, ref)
);
create index ledger_entries_by_tenant on ledger_entries (tenant_id, hour);

-- ---------------------------------------------------------------- submission
create table submission_items (
  item_id           uuid primary key,
  record_id         uuid not null unique references usage_records,
  tenant_id         uuid not null,
  subscription_id   uuid not null,
  marketplace       text not null,
  hour              timestamptz not null,
  batch_key         text,
  wire              jsonb,
  state             text not null check (state in ('pending', 'held', 'in_flight', 'unknown', 'deferred', 'accepted', 'conflict', 'rejected', 'expired')),
  hold_reason       text,
  target_at         timestamptz not null,
  hard_at           timestamptz not null,
  next_attempt_at   timestamptz not null,
  attempts          integer not null default 0,
  last_code         text,
  receipt           text,
  accepted_quantity numeric,
  settled_at        timestamptz,
  lease_until       timestamptz,
  fence             bigint not null default 0,
  created_at        timestamptz not null
);
create index submission_items_open on submission_items (hard_at, next_attempt_at) where settled_at is null;
create index submission_items_by_subscription on submission_items (subscription_id) where settled_at is null;
create index submission_items_by_tenant on submission_items (tenant_id, hour, item_id);
create index submission_items_by_hour on submission_items (hour, item_id);

create table submission_attempts (
  attempt_id  uuid primary key,
  item_id     uuid not null references submission_items,
  tenant_id   uuid not null,
  number      integer not null,
  call_id     uuid not null,
  fence       bigint not null,
  at          timestamptz not null,
  outcome     text,
  code        text,
  receipt     text,
  outcome_at  timestamptz,
  raw         jsonb,
  unique (item_id, number)
);
create index submission_attempts_open on submission_attempts (item_id) where outcome is null;
create index submission_attempts_by_tenant on submission_attempts (tenant_id);

create table usage_settlements (
  subscription_id uuid primary key,
  tenant_id       uuid not null,
  settled_at      timestamptz not null
);

-- ---------------------------------------------------------------- findings and reconciliation
create table findings (
  finding_id      uuid primary key,
  dedupe_key      text not null unique,
  kind            text not null check (kind in (
    'loss.residue', 'loss.suspended_unbillable', 'loss.missed_window', 'loss.expired', 'loss.event_too_old', 'loss.month_cut', 'loss.quarantined',
    'over_reported', 'duplicate_conflict', 'unknown_outcome', 'held_implausible', 'gap_estimated', 'clock_skew', 'paid_not_serving', 'serving_not_paid',
    'activate_by_near', 'drift.missing_there', 'drift.missing_here', 'drift.state', 'drift.plan', 'drift.quantity', 'unmapped_plan', 'int32_overflow',
    'price_unknown', 'lane_parked', 'secret_expiring')),
  tenant_id       uuid,
  subscription_id uuid,
  dimension       text,
  hour            timestamptz,
  units           numeric,
  amount          numeric,
  currency        text,
  deadline        timestamptz,
  evidence        jsonb not null,
  settlement      jsonb,
  raised_at       timestamptz not null,
  settled_at      timestamptz,
  check ((settlement is null) = (settled_at is null))
);
create index findings_by_tenant on findings (tenant_id, finding_id);
create index findings_by_subscription on findings (subscription_id, finding_id);

create table reconciliations (
  reconciliation_id uuid primary key,
  marketplace       text not null,
  from_at           timestamptz not null,
  to_at             timestamptz not null,
  requested_by      text not null,
  state             text not null check (state in ('requested', 'completed', 'failed')),
  summary           jsonb,
  created_at        timestamptz not null,
  completed_at      timestamptz,
  check (to_at > from_at)
);
create table reconciliation_lines (
  reconciliation_id uuid not null references reconciliations,
  line              integer not null,
  period_start      timestamptz not null,
  period_end        timestamptz not null,
  external_subscription_id text not null,
  subscription_id   uuid,
  external_plan_id  text not null,
  dimension         text not null,
  ours              numeric not null,
  theirs            numeric,
  our_count         integer not null,
  their_count       integer,
  verdict           text not null check (verdict in ('equal', 'not_yet_visible', 'missing_there', 'missing_here', 'quantity', 'not_comparable')),
  primary key (reconciliation_id, line)
);

-- ---------------------------------------------------------------- what is frozen stays frozen
create function refuse_changed_columns() returns trigger language plpgsql as $$
declare col text;
begin
  if tg_op = 'DELETE' then raise exception 'rows of % are never deleted', tg_table_name using errcode = 'restrict_violation'; end if;
  -- Arguments: columns that may be set once (from null) after a leading '?', others never.
  foreach col in array tg_argv loop
    if left(col, 1) = '?' then
      col := substr(col, 2);
      if to_jsonb(old) -> col <> 'null'::jsonb and to_jsonb(old) -> col is distinct from to_jsonb(new) -> col then
        raise exception '%.% is set once', tg_table_name, col using errcode = 'restrict_violation';
      end if;
    elsif to_jsonb(old) -> col is distinct from to_jsonb(new) -> col then
      raise exception '%.% is immutable', tg_table_name, col using errcode = 'restrict_violation';
    end if;
  end loop;
  return new;
end $$;
create trigger usage_records_frozen before update or delete on usage_records for each row execute function refuse_change();
create trigger hour_closings_frozen before update or delete on hour_closings for each row execute function refuse_change();
create trigger hour_roots_frozen before update or delete on hour_roots for each row execute function refuse_change();
create trigger ledger_entries_frozen before update or delete on ledger_entries for each row execute function refuse_change();
create trigger submission_items_frozen before update or delete on submission_items for each row
  execute function refuse_changed_columns('item_id', 'record_id', 'tenant_id', 'subscription_id', 'marketplace', 'hour', 'created_at', '?wire', '?batch_key', '?settled_at');
create trigger submission_attempts_frozen before update or delete on submission_attempts for each row
  execute function refuse_changed_columns('attempt_id', 'item_id', 'tenant_id', 'number', 'call_id', 'fence', 'at', '?outcome', '?code', '?receipt', '?outcome_at', '?raw');
create trigger carry_ins_frozen before update or delete on carry_ins for each row
  execute function refuse_changed_columns('carry_in_id', 'tenant_id', 'subscription_id', 'meter', 'segment_id', 'kind', 'stage', 'cause', 'origin', 'from_hour', 'amount', 'made_at', '?consumed_by_hour');
create trigger findings_frozen before update or delete on findings for each row
  execute function refuse_changed_columns('finding_id', 'dedupe_key', 'kind', 'tenant_id', 'subscription_id', 'dimension', 'hour', 'units', 'raised_at', '?settlement', '?settled_at');

-- ---------------------------------------------------------------- who sees what
do $$ declare t text; begin
  foreach t in array array['usage_bindings', 'usage_dedupe', 'usage_events', 'series', 'late_arrivals', 'hour_closings', 'usage_records', 'carry_ins',
                           'ledger_entries', 'submission_items', 'submission_attempts', 'usage_settlements', 'findings'] loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy %I on %I for select to berth_tenant using (tenant_id = app_tenant_id())', t || '_own', t);
    execute format('create policy %I on %I for all to berth_ops using (true) with check (true)', t || '_ops', t);
  end loop;
  foreach t in array array['usage_bindings', 'usage_dedupe', 'usage_events', 'series', 'late_arrivals'] loop
    execute format('create policy %I on %I for all to berth_intake using (tenant_id = any(app_tenant_ids())) with check (tenant_id = any(app_tenant_ids()))', t || '_intake', t);
  end loop;
end $$;

grant select on usage_bindings, usage_events, series, hour_closings, usage_records, carry_ins, ledger_entries, findings to berth_tenant;
grant select (item_id, record_id, tenant_id, subscription_id, marketplace, hour, state, hold_reason, target_at, hard_at, next_attempt_at, attempts, last_code, receipt,
  accepted_quantity, settled_at, created_at) on submission_items to berth_tenant;
grant select (attempt_id, item_id, tenant_id, number, at, outcome, code, receipt, outcome_at) on submission_attempts to berth_tenant;

grant select on usage_bindings to berth_intake;
grant select (subscription_id, tenant_id, metric, next_hour) on series to berth_intake;
grant select, insert on usage_dedupe, usage_events, late_arrivals to berth_intake;
grant select, insert, update on usage_sources to berth_intake;

grant select, insert on usage_dedupe, usage_events, hour_roots, hour_closings, usage_records, ledger_entries, usage_settlements, reconciliation_lines to berth_ops;
grant select, insert, update on usage_sources, usage_bindings, series, carry_ins, submission_items, submission_attempts, findings, reconciliations to berth_ops;
grant select, insert, delete on rejected_events, late_arrivals to berth_ops;
grant delete on usage_dedupe to berth_ops;
grant execute on function ensure_usage_day(date) to berth_ops, berth_intake;

insert into global_tables values
  ('usage_sources', 'one cell serves many tenants; holds no usage'),
  ('rejected_events', 'refused input has no proven tenant; operators only, capped'),
  ('hour_roots', 'hashes over many tenants'' hours; holds no usage'),
  ('reconciliations', 'a marketplace''s view over all tenants; operators only'),
  ('reconciliation_lines', 'a marketplace''s view over all tenants; operators only');
