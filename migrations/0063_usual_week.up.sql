-- expand: what a series used in the largest hour of each of its last days (money.md "Implausible"); written only when that changes.
alter table series add column usual jsonb;
