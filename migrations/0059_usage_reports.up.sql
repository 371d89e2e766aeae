-- expand: usage as a marketplace's own report tells it, in a file that finance downloaded. A wrong import is voided, never changed.
create table usage_reports (
  report_id    uuid primary key,
  marketplace  text not null,
  grain        text not null check (grain in ('day', 'month')),
  -- What the report's names are: of a purchase, an agreement or the buyer's account.
  named_by     text not null check (named_by in ('purchase', 'agreement', 'account')),
  zone         text not null,
  -- The periods it covers, whole, in its own time zone.
  from_at      timestamptz not null,
  to_at        timestamptz not null,
  -- When it was made: what came later cannot be in it.
  as_of        timestamptz not null,
  -- Decimals to which the report rounds each row; null: it does not.
  rounded_to   integer check (rounded_to between 0 and 12),
  content_hash text not null,
  reading      jsonb not null,
  lines        integer not null,
  imported_at  timestamptz not null,
  imported_by  text not null,
  voided_at    timestamptz,
  voided_by    text,
  void_reason  text,
  check (to_at > from_at),
  check ((voided_at is null) = (voided_by is null) and (voided_at is null) = (void_reason is null))
);
create unique index usage_reports_by_content on usage_reports (marketplace, content_hash) where voided_at is null;
select freeze_columns('usage_reports', 'report_id', 'marketplace', 'grain', 'named_by', 'zone', 'from_at', 'to_at', 'as_of', 'rounded_to', 'content_hash', 'reading', 'lines', 'imported_at', 'imported_by',
  '?voided_at', '?voided_by', '?void_reason');

create table usage_report_lines (
  report_id    uuid not null references usage_reports,
  line         integer not null,
  period_start timestamptz not null,
  period_end   timestamptz not null,
  -- Empty where the report does not say whose usage it is.
  name         text not null,
  dimension    text not null,
  quantity     numeric not null,
  raw          jsonb not null,
  primary key (report_id, line)
);
create index usage_report_lines_by_period on usage_report_lines (report_id, period_start);
create trigger usage_report_lines_frozen before update or delete on usage_report_lines for each row execute function refuse_change();

-- Several purchases that a report cannot tell apart are one line; a name that is no purchase of ours is left alone.
alter table reconciliation_lines add column by_sum boolean not null default false;
alter table reconciliation_lines drop constraint reconciliation_lines_verdict_check;
alter table reconciliation_lines add constraint reconciliation_lines_verdict_check check (verdict in
  ('equal', 'not_yet_visible', 'missing_there', 'missing_here', 'quantity', 'not_comparable', 'foreign'));
alter table reconciliation_steps drop constraint reconciliation_steps_kind_check;
alter table reconciliation_steps add constraint reconciliation_steps_kind_check check (kind in ('sum_law', 'read_back', 'usage_report', 'subscriptions', 'placements'));

insert into global_tables values
  ('usage_reports', 'a marketplace''s report spans all tenants; operators only'),
  ('usage_report_lines', 'a marketplace''s report spans all tenants; operators only');
grant select, insert, update on usage_reports to berth_ops;
grant select, insert on usage_report_lines to berth_ops;
