import type { Tx } from '#platform';

/**
 * Deletes runs that ended before `before`, with their lines, at most `most`; answers how many. The newest of a marketplace and its
 * newest completed one stay: by them it is told when to look again, and that a purchase agreed. So do those that `named` answers of
 * the ids it is asked about: what hangs on them is told elsewhere.
 */
export async function pruneDriftRuns(
  tx: Tx,
  before: Date,
  most: number,
  named: (driftRunIds: string[]) => Promise<ReadonlySet<string>>,
): Promise<number> {
  const old = await tx.query<{ drift_run_id: string }>(
    `select r.drift_run_id from drift_runs r
      where r.completed_at < $1
        and exists (select 1 from drift_runs n where n.marketplace = r.marketplace and n.created_at > r.created_at)
        and (r.state <> 'completed' or r.error is not null or exists (
              select 1 from drift_runs n where n.marketplace = r.marketplace and n.state = 'completed' and n.error is null and n.created_at > r.created_at))
      order by r.completed_at limit $2`,
    [before, most],
  );
  const kept = await named(old.map((r) => r.drift_run_id));
  const gone = old.flatMap((r) => (kept.has(r.drift_run_id) ? [] : [r.drift_run_id]));
  if (gone.length === 0) return 0;
  await tx.query('delete from drift_lines where drift_run_id = any($1::uuid[])', [gone]);
  await tx.query('delete from drift_runs where drift_run_id = any($1::uuid[])', [gone]);
  return gone.length;
}
