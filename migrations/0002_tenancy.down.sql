drop table audit_events;
drop table api_keys;
drop table tenants;
