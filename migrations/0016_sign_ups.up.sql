-- expand: buyers who have signed up before the marketplace shows any order of theirs.
create table buyer_sign_ups (
  marketplace      text not null,
  buyer_account_id text not null,
  signed_up_at     timestamptz not null,
  primary key (marketplace, buyer_account_id)
);
grant select, insert, update, delete on buyer_sign_ups to berth_ops;
insert into global_tables values ('buyer_sign_ups', 'a buyer without a purchase has no tenant; operators only');
