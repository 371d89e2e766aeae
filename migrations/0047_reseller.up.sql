-- expand: who sold a purchase, as a column of its own: its buyer may read it, the rest of what the marketplace told stays ours.
alter table subscriptions add column reseller jsonb generated always as (truth -> 'reseller') stored;
grant select (reseller) on subscriptions to berth_tenant;
