revoke delete on drift_runs, drift_lines from berth_ops;
