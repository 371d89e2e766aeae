-- expand: a finding for renewals and replacements that did not take their predecessor's place. The kinds of before stay.
alter table findings drop constraint findings_kind_check;
alter table findings add constraint findings_kind_check check (kind in (
    'loss.residue', 'loss.suspended_unbillable', 'loss.missed_window', 'loss.expired', 'loss.event_too_old', 'loss.month_cut', 'loss.quarantined',
    'over_reported', 'duplicate_conflict', 'unknown_outcome', 'held_implausible', 'gap_estimated', 'clock_skew', 'paid_not_serving', 'serving_not_paid',
    'activate_by_near', 'drift.missing_there', 'drift.missing_here', 'drift.state', 'drift.plan', 'drift.quantity', 'unmapped_plan', 'int32_overflow',
    'price_unknown', 'lane_parked', 'secret_expiring', 'succession'));
