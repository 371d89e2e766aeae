import type { Tx } from '#platform';
import type { FulfillmentEvent, SubscriptionTruth } from '#marketplaces/core';
import {
  differencesOf,
  isExpectedThere,
  subscriptionIdOf,
  type DriftDifference,
  type DriftLineRow,
  type DriftVerdict,
} from '#entitlements';
import type { ProcessContext } from './context.js';
import { decideChange } from './decide-change.js';
import { applyEvent } from './normalise-inbound.js';

export interface Judgement {
  verdict: DriftVerdict;
  note: string;
  differences?: DriftDifference[];
  subscriptionId?: string | null;
}

/** What a second look at one purchase means. Absence ends nothing; what is shown is applied as a message that was lost would be. */
export async function judgeReread(p: ProcessContext, tx: Tx, event: FulfillmentEvent, line: DriftLineRow): Promise<Judgement> {
  const { marketplace, externalSubscriptionId, truth } = event;
  const subscriptionId = subscriptionIdOf(marketplace, externalSubscriptionId);
  const record = await p.subscriptions.find(tx, subscriptionId);
  const raise = (difference: Exclude<DriftDifference, 'term' | 'change'>, ours: string, theirs: string): Promise<boolean> =>
    p.metering.raiseFinding(tx, {
      kind: `drift.${difference}`,
      // The same difference of the same view is one finding, however often it is looked at.
      dedupeKey: ['drift', difference, subscriptionId, ours, theirs, truth?.version ?? ''].join(':'),
      tenantId: record?.tenantId ?? null,
      subscriptionId,
      evidence: { marketplace, externalSubscriptionId, ours, theirs, readAt: p.clock.now().toISOString(), driftRunId: line.drift_run_id },
    });

  if (!truth) {
    if (!record || !isExpectedThere(record.state)) return { verdict: 'agrees_now', note: 'neither side has it' };
    await raise('missing_there', record.state, 'nothing');
    return {
      verdict: 'missing_there',
      note: `ours ${record.state}; the marketplace knows no such purchase; left as it is`,
      subscriptionId,
    };
  }
  if (!record) return discovered(p, tx, event, truth, raise);

  const differences = differencesOf(record, truth);
  if (differences.length === 0 && line.differences.includes('change') && truth.pendingChange) {
    const decision = await decideChange(p, tx, event, { result: 'unchanged', subscriptionId, why: 'nothing new' });
    return {
      verdict: decision ? 'applied' : 'differs',
      note: `a change to ${String(truth.pendingChange.toExternalPlanId)} was not decided`,
      subscriptionId,
    };
  }
  if (differences.length === 0 && !bringsWord(record.truth, truth))
    return line.differences.includes('missing_there')
      ? { verdict: 'omitted', note: 'the list leaves it out; asked by id it agrees' }
      : { verdict: 'agrees_now', note: 'the list lagged; asked by id it agrees' };
  const before: Record<string, string> = { state: record.state, plan: record.externalPlanId, quantity: String(record.quantity) };
  const theirs: Record<string, string> = { state: truth.state, plan: truth.externalPlanId, quantity: String(truth.quantity) };
  const outcome = await applyEvent(p, tx, event, null);
  await decideChange(p, tx, event, outcome);
  for (const difference of ['state', 'plan', 'quantity'] as const)
    if (differences.includes(difference)) await raise(difference, before[difference]!, theirs[difference]!);
  const left = differencesOf(await p.subscriptions.get(tx, subscriptionId), truth);
  const note = outcome.result === 'applied' ? outcome.changes.join(', ') : outcome.why;
  return { verdict: left.length === 0 ? 'applied' : 'differs', note, differences, subscriptionId };
}

/**
 * A word that moves no state by itself and was waited for: whose place the purchase takes, or that it is in force at all. With it
 * lost, a successor would never take over and what was landed on would never be set up.
 */
const bringsWord = (known: Pick<SubscriptionTruth, 'supersedes' | 'unconfirmed'>, truth: SubscriptionTruth): boolean =>
  (truth.supersedes !== null && truth.supersedes.externalId !== known.supersedes?.externalId) ||
  (known.unconfirmed === true && !truth.unconfirmed);

async function discovered(
  p: ProcessContext,
  tx: Tx,
  event: FulfillmentEvent,
  truth: SubscriptionTruth,
  raise: (difference: 'missing_here', ours: string, theirs: string) => Promise<boolean>,
): Promise<Judgement> {
  if (truth.state === 'ended' || truth.state === 'voided') return { verdict: 'ended_there', note: 'it has ended meanwhile' };
  const outcome = await applyEvent(p, tx, { ...event, kind: 'purchased' }, null);
  await decideChange(p, tx, event, outcome);
  // A purchase that waits for its buyer is told by the landing alone (contract azure §5): nothing was lost, so nothing is found.
  if (truth.state !== 'pending_fulfillment') await raise('missing_here', 'nothing', truth.state);
  return outcome.result === 'applied'
    ? { verdict: 'applied', note: outcome.changes.join(', '), subscriptionId: outcome.subscriptionId }
    : { verdict: 'differs', note: outcome.why, subscriptionId: outcome.subscriptionId };
}
