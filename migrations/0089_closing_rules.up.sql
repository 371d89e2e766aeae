-- expand: by which rules the hours of a step were closed, so that they can be closed again as they were (ADR 0022). Those from before
-- this column were closed by the first ones.
alter table closing_steps add column rules smallint not null default 1;
