alter table landing_sessions drop column signed_in;
