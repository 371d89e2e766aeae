-- contract: nothing ever wrote down here what a purchase holds. A change asks for the newest sample of its placement instead.
drop table subscription_usage;
