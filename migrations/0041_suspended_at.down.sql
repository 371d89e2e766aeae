alter table subscriptions drop column if exists suspended_at;
