alter table findings drop constraint if exists findings_kind_check;
alter table change_requests drop column if exists from_external_plan_id;
alter table change_requests drop column if exists from_quantity;
-- Forced row security hides the rows from their owner too.
alter table findings no force row level security;
delete from findings where kind not in (
    'loss.residue', 'loss.suspended_unbillable', 'loss.missed_window', 'loss.expired', 'loss.event_too_old', 'loss.month_cut', 'loss.quarantined',
    'over_reported', 'duplicate_conflict', 'unknown_outcome', 'held_implausible', 'gap_estimated', 'clock_skew', 'paid_not_serving', 'serving_not_paid',
    'activate_by_near', 'drift.missing_there', 'drift.missing_here', 'drift.state', 'drift.plan', 'drift.quantity', 'unmapped_plan', 'int32_overflow',
    'price_unknown', 'lane_parked', 'secret_expiring', 'succession');
alter table findings force row level security;
alter table findings add constraint findings_kind_check check (kind in (
    'loss.residue', 'loss.suspended_unbillable', 'loss.missed_window', 'loss.expired', 'loss.event_too_old', 'loss.month_cut', 'loss.quarantined',
    'over_reported', 'duplicate_conflict', 'unknown_outcome', 'held_implausible', 'gap_estimated', 'clock_skew', 'paid_not_serving', 'serving_not_paid',
    'activate_by_near', 'drift.missing_there', 'drift.missing_here', 'drift.state', 'drift.plan', 'drift.quantity', 'unmapped_plan', 'int32_overflow',
    'price_unknown', 'lane_parked', 'secret_expiring', 'succession'));
