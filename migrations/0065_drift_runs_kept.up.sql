-- expand: comparisons with a marketplace's list go after their retention, as those of the ledger do.
grant delete on drift_runs, drift_lines to berth_ops;
