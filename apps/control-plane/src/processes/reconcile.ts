import { errorText, RunAgainAt, type TaskContext, type Tx } from '#platform';
import { MARKETPLACES, type Marketplace } from '#marketplaces/core';
import {
  advanceStep,
  beginStep,
  insertRun,
  lockRuns,
  openStepOf,
  RECONCILIATION_KINDS,
  refuseSideBySide,
  reportsOfSpan,
  type NewRun,
  type NewStep,
  type ReconciliationKind,
} from '#metering';
import { getDriftRun, lastDriftRunAt } from '#entitlements';
import { requestDriftRun } from './check-drift.js';
import type { ProcessContext } from './context.js';
import type { Comparison } from './comparison.js';
import { comparePlacements } from './compare-placements.js';
import { compareReadBack, compareSubscriptions, compareUsageReport, driftCameTo } from './compare-with-marketplace.js';
import { compareSumLaw } from './compare-sum-law.js';

const COMPARISONS: Record<ReconciliationKind, Comparison> = {
  sum_law: compareSumLaw,
  placements: comparePlacements,
  read_back: compareReadBack,
  usage_report: compareUsageReport,
  subscriptions: compareSubscriptions,
};
const RUN = 'reconciliation.run';

/**
 * Books a run of comparisons in the caller's transaction; answers its id. Throws `reconciliation.under_way` where one of them goes on
 * already. Placements are always compared whole, of a marketplace only its own purchases' sums and its own word.
 */
export async function requestRun(p: ProcessContext, tx: Tx, wish: NewRun): Promise<string> {
  const now = p.clock.now();
  const markets = MARKETPLACES.filter((m) => p.marketplaces.has(m) && (wish.marketplace ?? m) === m);
  const wanted = RECONCILIATION_KINDS.filter((kind) => wish.kinds.includes(kind)).flatMap(
    (kind): Pick<NewStep, 'kind' | 'marketplace'>[] => {
      if (kind === 'placements') return [{ kind, marketplace: null }];
      if (kind === 'sum_law') return [{ kind, marketplace: wish.marketplace }];
      return markets.map((marketplace) => ({ kind, marketplace }));
    },
  );
  await refuseSideBySide(tx, wanted, now);
  const steps: NewStep[] = [];
  for (const one of wanted) steps.push({ ...one, ...(await book(p, tx, one.kind, one.marketplace, wish)) });
  const runId = await insertRun(tx, { ...wish, kinds: RECONCILIATION_KINDS.filter((kind) => wish.kinds.includes(kind)) }, steps, now);
  await p.tasks.enqueue(tx, { lane: `reconciliation:${runId}`, handler: RUN, payload: { runId } });
  return runId;
}

/** What holds the lines of a comparison with a marketplace; or why there is nothing to compare with. */
async function book(
  p: ProcessContext,
  tx: Tx,
  kind: ReconciliationKind,
  marketplace: Marketplace | null,
  wish: NewRun,
): Promise<Pick<NewStep, 'reference' | 'notComparable'>> {
  if (marketplace === null || kind === 'sum_law' || kind === 'placements') return { reference: null };
  const adapter = p.marketplaces.get(marketplace);
  const { from, to, requestedBy } = wish;
  if (kind === 'usage_report') {
    if ((await reportsOfSpan(tx, { marketplace, from, to })).length === 0)
      return { reference: null, notComparable: 'no usage report of this span was imported (POST /api/v1/usage-reports)' };
    return { reference: await p.metering.requestReconciliation(tx, { marketplace, from, to, requestedBy }) };
  }
  if (kind === 'read_back') {
    if (!adapter.readBack) return { reference: null, notComparable: `${marketplace} does not tell what usage it has accepted` };
    return { reference: await p.metering.requestReconciliation(tx, { marketplace, from, to, requestedBy }) };
  }
  if (!adapter.listAll) return { reference: null, notComparable: `${marketplace} cannot list its purchases as it is set up here` };
  return { reference: await requestDriftRun(p, tx, marketplace, wish.requestedBy) };
}

/**
 * Compares the purchases of one marketplace, as a run like any other, and answers its drift run; or the one that is under way, whoever
 * asked for it.
 */
export async function requestDriftAsRun(p: ProcessContext, tx: Tx, marketplace: Marketplace, requestedBy: string): Promise<string> {
  // Of several who ask at once the first one books it, and the others are told of his.
  await lockRuns(tx);
  const open = await openStepOf(tx, 'subscriptions', marketplace);
  if (open) {
    const drift = await getDriftRun(tx, open.step.reference!);
    if (drift && (drift.state === 'requested' || drift.state === 'rereading')) return drift.drift_run_id;
    // That one is through, and only its run has not looked again yet: whoever asks now wants another.
    await advanceStep(tx, open.step, await driftCameTo(p, tx, open.run, drift), p.clock.now());
  }
  const to = p.clock.now();
  const last = await lastDriftRunAt(tx, marketplace);
  const from = last !== null && last < to ? last : new Date(to.getTime() - 3_600_000);
  await requestRun(p, tx, { kinds: ['subscriptions'], marketplace, from, to, requestedBy, via: 'api' });
  return (await openStepOf(tx, 'subscriptions', marketplace))!.step.reference!;
}

/** Task `reconciliation.run`: one step, or a piece of one; the next task of the lane does the next. A step that fails parks nothing. */
export async function runReconciliation(p: ProcessContext, payload: { runId: string }, task: TaskContext): Promise<void> {
  const { runId } = payload;
  const begun = await p.db.ops((tx) => beginStep(tx, runId, p.clock.now()));
  const step = begun?.step;
  if (!begun || !step) return p.db.ops((tx) => task.completeIn(tx));
  const goOn = async (tx: Tx): Promise<void> => {
    await p.tasks.enqueue(tx, { lane: task.lane, handler: RUN, payload: { runId } });
    await task.completeIn(tx);
  };
  try {
    const write = await COMPARISONS[step.kind](p, begun.run, step);
    await p.db.ops(async (tx) => {
      await advanceStep(tx, step, await write(tx), p.clock.now());
      await goOn(tx);
    });
  } catch (error) {
    if (error instanceof RunAgainAt) throw error;
    await p.db.ops(async (tx) => {
      await advanceStep(tx, step, { end: { state: 'failed', reason: errorText(error) } }, p.clock.now());
      await goOn(tx);
    });
  }
}
