-- expand: which identity providers a placement binds on its cluster; each takes one of the cluster's slots of its kind.
alter table placements add column identity text[] not null default '{}';
comment on column clusters.variant is 'shared: for many placements; dedicated: for one alone';
