-- Items are listed in the order of their records, which has its indexes: two entries fewer at each closing and at each answer, which
-- writes them anew. A span of hours is found by the pages it lies on, since items are made hour by hour.
drop index submission_items_by_tenant;
drop index submission_items_by_hour;
create index submission_items_hours on submission_items using brin (hour) with (pages_per_range = 32);
