-- expand: since when the marketplace has suspended a purchase; Azure cancels it after thirty days.
alter table subscriptions add column suspended_at timestamptz;
-- Forced row security hides the rows from their owner too.
alter table subscriptions no force row level security;
update subscriptions set suspended_at = updated_at where state = 'suspended' and suspended_source is distinct from 'service_check';
alter table subscriptions force row level security;
