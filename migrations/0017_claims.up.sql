-- expand: people who hold a landing token and ask for access to the purchase; an operator decides.
create table claims (
  claim_id        uuid primary key,
  subscription_id uuid not null,
  session_hash    text not null unique references landing_sessions (session_hash),
  state           text not null check (state in ('pending', 'approved', 'rejected')),
  claimant        text,
  decided_by      text,
  reason          text,
  created_at      timestamptz not null,
  decided_at      timestamptz,
  check ((state = 'pending') = (decided_at is null)),
  check ((decided_at is null) = (decided_by is null))
);
create index claims_by_subscription on claims (subscription_id);
create index claims_pending on claims (claim_id) where state = 'pending';
grant select, insert, update on claims to berth_ops;
insert into global_tables values ('claims', 'asked for before a tenant is known; operators only');
