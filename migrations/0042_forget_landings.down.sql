revoke delete on inbox from berth_ops;
drop policy if exists inbox_forget on inbox;
