alter table placements drop column identity;
comment on column clusters.variant is null;
