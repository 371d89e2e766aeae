delete from global_tables where table_name in ('usage_reports', 'usage_report_lines');
-- Runs and lines that were made stay as they are.
alter table reconciliation_steps drop constraint if exists reconciliation_steps_kind_check;
alter table reconciliation_steps add constraint reconciliation_steps_kind_check check (kind in ('sum_law', 'read_back', 'subscriptions', 'placements')) not valid;
alter table reconciliation_lines drop constraint if exists reconciliation_lines_verdict_check;
alter table reconciliation_lines add constraint reconciliation_lines_verdict_check check (verdict in
  ('equal', 'not_yet_visible', 'missing_there', 'missing_here', 'quantity', 'not_comparable')) not valid;
alter table reconciliation_lines drop column if exists by_sum;
drop table if exists usage_report_lines;
drop table if exists usage_reports;
