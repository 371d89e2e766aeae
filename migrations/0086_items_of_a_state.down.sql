drop index submission_items_not_accepted;
drop index submission_items_held;
