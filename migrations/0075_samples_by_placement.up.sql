-- A sample is found by its placement; only the engine's own are found by their purchase. Two index entries fewer for each sample.
drop index usage_events_by_series;
drop index usage_events_by_tenant;
create index usage_events_of_engine on usage_events (subscription_id, metric, occurred_at) where source = '/berth/engine';
