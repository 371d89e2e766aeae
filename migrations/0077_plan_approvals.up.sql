-- expand: plans that destroy data wait for a person, and each decision is kept.
alter table clusters drop constraint clusters_phase_check;
alter table clusters add constraint clusters_phase_check check (phase in
  ('requested', 'preflight', 'planned', 'approval', 'provisioning', 'configuring', 'validating', 'active', 'degraded', 'failed', 'retiring', 'retired'));

create table cluster_plans (
  plan_id      uuid primary key,
  cluster_id   uuid not null references clusters,
  -- The operation that waits.
  operation_id uuid not null references operations,
  -- What an approval binds to (contract provisioning §4.2). A plan that is made anew may have the same one, and needs a new approval.
  plan_hash    text not null,
  -- Counts, names of what is lost, cost; never the artefact.
  facts        jsonb not null,
  state        text not null check (state in ('waiting', 'approved', 'applied', 'rejected', 'expired', 'stale', 'void')),
  requested_at timestamptz not null,
  expires_at   timestamptz not null,
  decided_by   text,
  decided_at   timestamptz,
  reason       text,
  constraint cluster_plans_decided_check check (state not in ('approved', 'applied', 'rejected') or (decided_by is not null and reason is not null))
);
create unique index cluster_plans_one_open on cluster_plans (cluster_id) where state in ('waiting', 'approved');
create index cluster_plans_by_cluster on cluster_plans (cluster_id, plan_id);
create index cluster_plans_expiring on cluster_plans (expires_at) where state in ('waiting', 'approved');

insert into global_tables values ('cluster_plans', 'plans of operator-owned capacity and who decided on them; served to operators only');
grant select, insert, update on cluster_plans to berth_ops;
