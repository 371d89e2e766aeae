import type { Tx } from '#platform';
import { closeAgreeing, type RunRow, type StepCounts, type StepRow } from '#metering';
import type { ProcessContext } from './context.js';

/** What a piece of a comparison came to. Without `end` the comparison goes on at `position`. */
export type Gone = Partial<StepCounts> & {
  position?: string;
  end?: { state: 'done' | 'failed' | 'not_comparable'; reason?: string | null };
};

/**
 * One comparison of a run: looks (other machines are asked here, outside a transaction), and answers what is to be written. Throws
 * `RunAgainAt` to wait for an answer; any other error fails the step, with its text.
 */
export type Comparison = (p: ProcessContext, run: RunRow, step: StepRow) => Promise<(tx: Tx) => Promise<Gone>>;

/** Findings that are gone settle themselves, each with its line in the audit trail; answers how many. */
export async function settleAgreeing(
  p: ProcessContext,
  tx: Tx,
  runId: string,
  findingIds: readonly string[],
  effect: string,
  reason?: string,
): Promise<number> {
  await closeAgreeing(tx, p.clock, { findingIds, runId, effect, ...(reason === undefined ? {} : { reason }) });
  for (const findingId of findingIds)
    await p.audit.record(tx, {
      tenantId: null,
      actor: `reconciliation:${runId}`,
      action: 'finding.settled',
      subject: `finding:${findingId}`,
      detail: { settlement: 'fix_mapping', effect },
    });
  return findingIds.length;
}
