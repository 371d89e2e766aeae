import { ProblemError, type Tx } from '#platform';
import type { DriverErrorShape, RuleReport, SuiteReport, SuiteResult } from '#provisioning/core';

export interface ConformanceRunRow {
  run_id: string;
  placement_id: string;
  cluster_id: string;
  endpoint: string;
  driver: string;
  region: string;
  suite: string;
  suite_version: string;
  state: 'queued' | 'running' | 'done' | 'failed';
  result: SuiteResult | null;
  lacking: string[];
  rules: RuleReport[];
  step: number;
  steps: number;
  awaited: string | null;
  probe_account: string | null;
  attempts: number;
  error: DriverErrorShape | null;
  requested_by: string;
  created_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
}

export async function loadRun(tx: Tx, runId: string, lock = false): Promise<ConformanceRunRow> {
  const [row] = await tx.query<ConformanceRunRow>(`select * from conformance_runs where run_id = $1${lock ? ' for update' : ''}`, [runId]);
  if (!row) throw new ProblemError('not_found', 'conformance.unknown', `There is no conformance run ${runId}.`);
  return row;
}

/** Newest first. */
export async function listRunsOf(
  tx: Tx,
  placementId: string,
  paging: { readonly limit: number; readonly after?: string },
): Promise<{ items: ConformanceRunRow[]; nextCursor: string | null }> {
  const limit = Math.min(Math.max(1, Math.trunc(paging.limit)), 200);
  const rows = await tx.query<ConformanceRunRow>(
    `select * from conformance_runs where placement_id = $1 and ($2::uuid is null or run_id < $2) order by run_id desc limit ${limit + 1}`,
    [placementId, paging.after ?? null],
  );
  const items = rows.slice(0, limit);
  return { items, nextCursor: rows.length > limit ? items.at(-1)!.run_id : null };
}

/** `n` is of the same placement and suite as `r`, and ended after it. */
const NEWER = `n.placement_id = r.placement_id and n.suite = r.suite and n.suite_version = r.suite_version
  and (n.finished_at, n.run_id) > (r.finished_at, r.run_id)`;

/**
 * Deletes runs that ended before `before`, at most `most`, oldest first; answers how many. Of each placement and version of the suite the
 * newest that passed, the newest with a result and the newest of all stay: they are what a gate and a person ask for.
 */
export async function pruneConformanceRuns(tx: Tx, before: Date, most: number): Promise<number> {
  const rows = await tx.query(
    `delete from conformance_runs where run_id in (
       select r.run_id from conformance_runs r
        where r.finished_at < $1
          and exists (select 1 from conformance_runs n where ${NEWER})
          and (r.state <> 'done' or exists (select 1 from conformance_runs n where ${NEWER} and n.state = 'done'))
          and (r.result is distinct from 'pass' or exists (select 1 from conformance_runs n where ${NEWER} and n.result = 'pass'))
        order by r.finished_at limit $2) returning 1`,
    [before, most],
  );
  return rows.length;
}

export async function noteRule(tx: Tx, runId: string, at: { step: number; of: number; rule: string | null }): Promise<void> {
  await tx.query(`update conformance_runs set step = $2, steps = $3, awaited = $4 where run_id = $1 and state = 'running'`, [
    runId,
    at.step,
    at.of,
    at.rule,
  ]);
}

/** The end of a run; one that has ended stays as it is. */
export async function endRun(tx: Tx, runId: string, now: Date, end: SuiteReport | { readonly error: DriverErrorShape }): Promise<void> {
  if ('error' in end) {
    await tx.query(
      `update conformance_runs set state = 'failed', error = $2, awaited = null, finished_at = $3 where run_id = $1 and finished_at is null`,
      [runId, JSON.stringify(end.error), now],
    );
    return;
  }
  await tx.query(
    `update conformance_runs set state = 'done', result = $2, lacking = $3, rules = $4, suite_version = $5, step = steps, awaited = null, finished_at = $6
      where run_id = $1 and finished_at is null`,
    [runId, end.result, end.lacking, JSON.stringify(end.rules), end.suiteVersion, now],
  );
}
