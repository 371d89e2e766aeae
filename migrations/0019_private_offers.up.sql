-- expand: the private offers that a purchase's plan is sold under; null until they were read, or where the marketplace does not tell.
alter table subscriptions add column private_offers text[];
grant select (private_offers) on subscriptions to berth_tenant;
