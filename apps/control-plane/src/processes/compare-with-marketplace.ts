import { errorText, RunAgainAt, type Tx } from '#platform';
import { MarketplaceBusy, MarketplaceUnknown } from '#marketplaces/core';
import { agreeingLineFindings, getReconciliation, toldLater, type RunRow, type StepRow } from '#metering';
import { getDriftRun } from '#entitlements';
import type { ProcessContext } from './context.js';
import { settleAgreeing, type Comparison, type Gone } from './comparison.js';

/** Soon at first, then ever more seldom. */
const lookAgainAfter = (waited: number): number => Math.min(30_000, Math.max(500, waited / 2));
const ASK_AGAIN_MS = 60_000;
/** A marketplace that is busy or does not answer is asked for so long. */
const ASKED_FOR_MS = 10 * 60_000;
/** So long a comparison of purchases is waited for; then it is somebody's parked lane, or a marketplace that does not answer. */
const PATIENCE_MS = 3_600_000;

/** Our receipts against what the marketplace says it accepted, at its own grain (money.md "What can be compared"). */
export const compareReadBack: Comparison = async (p, run, step) => {
  const reconciliationId = step.reference!;
  try {
    await p.metering.runReconciliation(reconciliationId);
  } catch (error) {
    const now = p.clock.now().getTime();
    const again = error instanceof MarketplaceBusy ? (error.retryAfterMs ?? ASK_AGAIN_MS) : ASK_AGAIN_MS;
    const passing = error instanceof MarketplaceBusy || error instanceof MarketplaceUnknown;
    if (passing && now + again - step.started_at!.getTime() < ASKED_FOR_MS) throw new RunAgainAt(new Date(now + again), error.message);
    return () => Promise.resolve({ end: { state: 'failed', reason: `could not be asked: ${errorText(error)}` } });
  }
  return async (tx) => {
    const done = (await getReconciliation(tx, reconciliationId))!;
    const { error } = (done.summary ?? {}) as { error?: string };
    if (done.state !== 'completed') return { end: { state: 'failed', reason: `could not be asked: ${error ?? done.state}` } };
    return cameTo(p, tx, run, step);
  };
};

/** Our receipts against the reports that finance has downloaded and imported, at the grain and lag of each. */
export const compareUsageReport: Comparison = (p, run, step) =>
  Promise.resolve(async (tx) => {
    await p.metering.compareUsageReports(tx, step.reference!);
    return cameTo(p, tx, run, step);
  });

interface Counted extends Record<string, unknown> {
  compared: number;
  agreed: number;
  differing: number;
  not_yet_visible: number;
  opened: number;
  shadow: number;
  shadow_apart: number;
  by_sum: number;
  foreign_lines: number;
}

/** What the lines came to; findings about lines that are equal now, and of items that have their outcome by them, settle themselves. */
async function cameTo(p: ProcessContext, tx: Tx, run: RunRow, step: StepRow): Promise<Gone> {
  const [n] = await tx.query<Counted>(
    `select count(*) filter (where verdict <> 'foreign')::int as compared, count(*) filter (where verdict = 'equal')::int as agreed,
            count(*) filter (where verdict = 'not_yet_visible' and not shadow)::int as not_yet_visible,
            count(*) filter (where verdict in ('missing_there', 'missing_here', 'quantity') and not shadow)::int as differing,
            (select count(*)::int from findings where evidence ->> 'reconciliationId' = $1::text) as opened,
            count(*) filter (where shadow)::int as shadow, count(*) filter (where shadow and verdict not in ('equal', 'not_yet_visible'))::int as shadow_apart,
            count(*) filter (where by_sum)::int as by_sum, count(*) filter (where verdict = 'foreign')::int as foreign_lines
       from reconciliation_lines where reconciliation_id = $1::uuid`,
    [step.reference],
  );
  const { shadow, shadow_apart: apart, by_sum: bySum, foreign_lines: foreign, ...counts } = n!;
  const gone = await agreeingLineFindings(tx, step.reference!);
  let closed = await settleAgreeing(p, tx, run.run_id, gone, 'a later comparison shows the line as equal');
  const told = await toldLater(tx);
  for (const { findingId, effect } of told)
    closed += await settleAgreeing(p, tx, run.run_id, [findingId], effect, 'a comparison told its outcome');
  const notes = [
    // A listing in shadow is sent by another kit: what differs there is theirs or ours, and no finding.
    shadow > 0 ? `${shadow} lines of listings in shadow; ${apart} differ from what the other kit sent` : '',
    told.length > 0 ? `${told.length} submissions without an answer have their outcome now` : '',
    bySum > 0 ? `${bySum} lines of several purchases that cannot be told apart, by their sum` : '',
    foreign > 0 ? `${foreign} lines name no purchase of ours and are left alone` : '',
  ].filter(Boolean);
  return { ...counts, closed, end: { state: 'done', reason: notes.join('; ') || null } };
}

/** Our purchases against the marketplace's list; each that differs was asked for by its id (drift run). */
export const compareSubscriptions: Comparison = async (p, run, step) => {
  const drift = await p.db.ops((tx) => getDriftRun(tx, step.reference!));
  const now = p.clock.now();
  if (drift && (drift.state === 'requested' || drift.state === 'rereading')) {
    const waited = now.getTime() - run.created_at.getTime();
    if (waited < PATIENCE_MS) throw new RunAgainAt(new Date(now.getTime() + lookAgainAfter(waited)), 'purchases are being read again');
    return () => Promise.resolve({ end: { state: 'failed', reason: 'purchases were not read again within an hour' } });
  }
  return (tx) => driftCameTo(p, tx, run, drift);
};

/** What a drift run that is through came to; findings about purchases that are known again settle themselves. */
export async function driftCameTo(p: ProcessContext, tx: Tx, run: RunRow, drift: Awaited<ReturnType<typeof getDriftRun>>): Promise<Gone> {
  if (!drift || drift.state === 'failed')
    return { end: { state: 'failed', reason: `could not be asked: ${drift?.error ?? 'the drift run is gone'}` } };
  if (drift.state === 'not_comparable') return { end: { state: 'not_comparable', reason: 'there is no list of purchases' } };
  const verdict = (...names: string[]): number => names.reduce((sum, name) => sum + (drift.verdicts[name] ?? 0), 0);
  const [raised] = await tx.query<{ n: number }>(`select count(*)::int as n from findings where evidence ->> 'driftRunId' = $1`, [
    drift.drift_run_id,
  ]);
  // What was made up for stays a finding until a person has seen it; a purchase that is known there again is no difference.
  const back = await tx.query<{ finding_id: string }>(
    `select f.finding_id from findings f where f.kind = 'drift.missing_there' and f.settlement is null and f.evidence ->> 'marketplace' = $1 and f.evidence ? 'driftRunId'
          and f.raised_at < $3 and not exists (select 1 from drift_lines l where l.drift_run_id = $2 and l.subscription_id = f.subscription_id and l.verdict in ('missing_there', 'differs', 'unread', 'rereading', 'not_yet_visible'))`,
    [drift.marketplace, drift.drift_run_id, drift.created_at],
  );
  const closed = await settleAgreeing(
    p,
    tx,
    run.run_id,
    back.map((f) => f.finding_id),
    'the marketplace knows the purchase again',
  );
  return {
    compared: (drift.counts?.['agree'] ?? 0) + (drift.counts?.['differ'] ?? 0),
    agreed: (drift.counts?.['agree'] ?? 0) + verdict('agrees_now', 'omitted'),
    differing: verdict('applied', 'differs', 'missing_there'),
    not_yet_visible: verdict('not_yet_visible', 'unread'),
    opened: raised!.n,
    closed,
    end: { state: 'done', reason: verdict('unread') > 0 ? `${verdict('unread')} could not be read again` : null },
  };
}
