alter table subscriptions drop column private_offers;
