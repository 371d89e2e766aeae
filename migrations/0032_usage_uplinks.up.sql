-- expand: one hour of one physical source is reported by one poster (money page, "Two reporters"): who came first holds it.
create table usage_uplinks (
  source    text not null,
  hour      timestamptz not null,
  principal text not null,
  primary key (source, hour)
);
create index usage_uplinks_by_age on usage_uplinks (hour);
grant select, insert on usage_uplinks to berth_intake;
grant select, delete on usage_uplinks to berth_ops;
insert into global_tables values ('usage_uplinks', 'one cell serves many tenants; holds no usage');
