drop index usage_events_of_engine;
create index usage_events_by_series on usage_events (subscription_id, metric, occurred_at);
create index usage_events_by_tenant on usage_events (tenant_id, occurred_at);
