import { requestDriftRun } from '../../src/processes/check-drift.js';
import type { Flows } from './flows.js';

export interface DriftRun {
  state: string;
  error: string | null;
  /** By purchase. */
  verdicts: Record<string, string>;
}

/** One run from wish to end. */
export async function runDrift(flows: Flows): Promise<DriftRun> {
  const id = await flows.db.ops((tx) => requestDriftRun(flows.p, tx, 'azure', 'a test'));
  await flows.settle();
  const [run] = await flows.rows<{ state: string; error: string | null }>('select state, error from drift_runs where drift_run_id = $1', [
    id,
  ]);
  const lines = await flows.rows<{ id: string; verdict: string }>(
    'select external_subscription_id as id, verdict from drift_lines where drift_run_id = $1 order by 1',
    [id],
  );
  return { ...run!, verdicts: Object.fromEntries(lines.map((l) => [l.id, l.verdict])) };
}

export const findingKinds = async (flows: Flows): Promise<string[]> =>
  (await flows.rows<{ kind: string }>('select kind from findings order by raised_at, kind')).map((f) => f.kind);
