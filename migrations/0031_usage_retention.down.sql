drop function usage_days();
drop function drop_usage_day(date);
