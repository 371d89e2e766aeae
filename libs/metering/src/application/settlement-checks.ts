import { ProblemError, type Tx } from '#platform';
import { agreeingDriftRun, Catalog, getSubscription, subscriptionIdOf } from '#entitlements';
import type { Marketplace } from '#marketplaces/core';
import { PriceBook } from '../infra/prices.sql.js';
import type { OpenFinding } from './open-finding.js';

/** `fix_mapping` is a claim that can be looked at: it settles only what is no longer so. Answers what was seen. */
export async function checkMended(tx: Tx, finding: OpenFinding): Promise<string> {
  const { evidence } = finding;
  if (finding.kind === 'unmapped_plan') return planIsMapped(tx, evidence);
  if (finding.kind === 'price_unknown') return priceIsKnown(tx, finding);
  if (evidence['comparison'])
    throw new ProblemError(
      'conflict',
      'finding.still_differs',
      'No later comparison agrees: then it would have settled this by itself. Start one (POST /api/v1/reconciliations, `berth reconcile`).',
    );
  const id = evidence['reconciliationId'];
  if (typeof id === 'string') return laterLineAgrees(tx, finding, id);
  if (finding.kind.startsWith('drift.')) return laterRunAgrees(tx, finding);
  throw new ProblemError('conflict', 'finding.no_mapping', 'This finding is not about a mapping.');
}

async function planIsMapped(tx: Tx, evidence: Record<string, unknown>): Promise<string> {
  const marketplace = evidence['marketplace'] as Marketplace;
  const { wantedOfferId, wantedPlanId } = evidence;
  if (typeof wantedOfferId === 'string' && typeof wantedPlanId === 'string')
    return planIsInCatalog(tx, marketplace, wantedOfferId, wantedPlanId);
  const subscription = await getSubscription(tx, subscriptionIdOf(marketplace, String(evidence['externalSubscriptionId'])));
  if (subscription?.plan_version_id) return `the purchase has plan ${subscription.external_plan_id} of our catalog`;
  return planIsInCatalog(tx, marketplace, subscription?.external_offer_id ?? null, subscription?.external_plan_id ?? '');
}

async function planIsInCatalog(tx: Tx, marketplace: Marketplace, offerId: string | null, planId: string): Promise<string> {
  const known = offerId ? await new Catalog({ now: () => new Date(0) }).latest(tx, marketplace, offerId, planId) : null;
  if (!known)
    throw new ProblemError(
      'conflict',
      'finding.still_unmapped',
      'The catalog still has no such plan. Add it to the offer in the catalog folder, start the control plane again, then replay the message (POST /api/v1/inbound-events/{id}/replay).',
    );
  return `the catalog has plan ${known.externalPlanId}, version ${known.version}; replay the message if the purchase still waits`;
}

async function priceIsKnown(tx: Tx, finding: OpenFinding): Promise<string> {
  const { subscription_id: id, dimension, hour } = finding;
  const price = id && dimension && hour ? (await PriceBook.load(tx, [id])).at(id, dimension, hour) : null;
  if (!price)
    throw new ProblemError(
      'conflict',
      'finding.price_still_unknown',
      'No price of this dimension is in force in that hour. Record it with its source and date (POST /api/v1/prices).',
    );
  return `${price.unitPrice} ${price.currency} a unit, from ${price.source}`;
}

/** A later comparison of the same line of the same report. */
async function laterLineAgrees(tx: Tx, finding: OpenFinding, reconciliationId: string): Promise<string> {
  const e = finding.evidence;
  const [line] = await tx.query<{ verdict: string; id: string }>(
    `select l.verdict, r.reconciliation_id as id from reconciliations r join reconciliations first on first.reconciliation_id = $1 join reconciliation_lines l on l.reconciliation_id = r.reconciliation_id
      where r.marketplace = first.marketplace and r.state = 'completed' and r.created_at >= first.created_at and r.reconciliation_id <> $1
        and l.external_subscription_id = $2 and l.external_plan_id = $3 and l.dimension = $4 and l.period_start = $5 and l.period_end = $6
      order by r.created_at desc, r.reconciliation_id desc limit 1`,
    [reconciliationId, e['externalSubscriptionId'], e['externalPlanId'], finding.dimension, e['from'], e['to']],
  );
  if (line?.verdict !== 'equal')
    throw new ProblemError(
      'conflict',
      'finding.still_differs',
      'No later comparison shows this line as equal. Reconcile the span again (POST /api/v1/reconciliations), then settle.',
    );
  return `reconciliation ${line.id} shows the line as equal`;
}

async function laterRunAgrees(tx: Tx, finding: OpenFinding): Promise<string> {
  const { subscription_id: subscriptionId, marketplace, raised_at: after } = finding;
  const later = subscriptionId && marketplace ? await agreeingDriftRun(tx, { marketplace, subscriptionId, after }) : null;
  if (!later)
    throw new ProblemError(
      'conflict',
      'finding.still_differs',
      'No later drift run agrees about this purchase. Start one (POST /api/v1/marketplaces/{marketplace}/drift-runs), then settle.',
    );
  return `drift run ${later.driftRunId} found nothing wrong with the purchase`;
}
