-- expand: an operator's own word on how much may be built for one purchase, over the one of its plan.
create table build_limit_overrides (
  override_id     uuid primary key,
  -- The order in which they were written: ids of one millisecond have none.
  position        bigint generated always as identity,
  subscription_id uuid not null,
  -- {"maxNodes", "maxCostPerHour": {"amountPerHour", "currency"}}: what is left out is the plan's, null is no limit. Null: the plan's again.
  limits          jsonb,
  reason          text not null check (length(reason) >= 3),
  decided_by      text not null,
  decided_at      timestamptz not null
);
-- The newest of a purchase holds; the others are its history.
create index build_limit_overrides_latest on build_limit_overrides (subscription_id, position desc);
insert into global_tables values ('build_limit_overrides', 'how much may be built for a purchase; operators only');
grant select, insert on build_limit_overrides to berth_ops;
