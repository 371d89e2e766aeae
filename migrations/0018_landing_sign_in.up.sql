-- expand: who signed in on this visit, sealed; null for a visit of nobody known.
alter table landing_sessions add column signed_in text;
