drop table late_outcomes;
