-- expand: a landing token that no marketplace knows leaves no row for ever: strangers make them up. Nothing else may be deleted.
create policy inbox_forget on inbox as restrictive for delete to berth_ops using (source like '%.landing' and subscription_id is null);
grant delete on inbox to berth_ops;
