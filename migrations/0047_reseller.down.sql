alter table subscriptions drop column reseller;
