import { type Check, type DoctorOptions, type ExpectedListing, readDataUnit, timeLimited } from '#marketplaces/core';
import { compareDecimals, errorText } from '#platform';
import { type ApiClient, failureOf } from './api-client.js';
import { parseExactJson } from './exact-json.js';
import { decimalOf, type Fields, fieldsOf, textOf } from './liberal.js';
import type { AzureReader } from './reader.js';

/** A publisher's list holds every offer; after so many rows without one of ours we say that we do not know. */
const MOST_ROWS = 500;
const READ_MS = 8_000;

/**
 * Plan ids, dimensions, units and included quantities of the catalog against the listing. Microsoft tells them only for a
 * purchase (`listAvailablePlans`, contract azure §3), so before the first one nothing can be compared.
 */
export async function listingChecks(
  options: DoctorOptions,
  parts: { reader: AzureReader; api: ApiClient },
  reachable: boolean,
): Promise<Check[]> {
  const listings = options.listings ?? [];
  const unknown = (detail: string): Check[] => [
    {
      check: 'azure.plans',
      result: 'unknown',
      detail,
      remedy:
        'By hand: compare the plan ids of the catalog with Partner Center, Plan overview, and dimensions and units with each plan, Pricing and availability; or buy a plan of the preview offer and run this again.',
    },
  ];
  if (listings.length === 0) return [];
  if (!reachable) return unknown('not tried without the list of purchases');
  const checks: Check[] = [];
  for (const ours of listings) {
    try {
      const plans = await timeLimited(() => plansOf(ours, parts), options.timeoutMs);
      if (plans === null) checks.push(...unknown(`Microsoft tells plans for a purchase only, and ${ours.externalOfferId} has none yet`));
      else checks.push(planCheck(ours, plans), unitCheck(ours, plans));
    } catch (error) {
      checks.push(...unknown(errorText(error)));
    }
  }
  return checks;
}

async function plansOf(ours: ExpectedListing, parts: { reader: AzureReader; api: ApiClient }): Promise<Fields[] | null> {
  let rows = 0;
  for await (const purchase of parts.reader.list()) {
    if ((rows += 1) > MOST_ROWS) return null;
    if (purchase.externalOfferId !== ours.externalOfferId) continue;
    const answer = await parts.api.call({
      method: 'GET',
      path: `/saas/subscriptions/${purchase.externalSubscriptionId}/listAvailablePlans`,
      timeoutMs: READ_MS,
      changes: false,
      operation: 'listAvailablePlans',
    });
    if (answer.status !== 200) throw failureOf('listAvailablePlans', answer, false);
    // An unknown purchase has an empty body.
    if (answer.text.trim() === '') continue;
    const plans = fieldsOf(parseExactJson(answer.text))['plans'];
    return (Array.isArray(plans) ? plans : []).map(fieldsOf);
  }
  return null;
}

function planCheck(ours: ExpectedListing, plans: Fields[]): Check {
  const listed = plans.map((plan) => textOf(plan['planId'])).filter((id): id is string => id !== null);
  const known = ours.plans.map((plan) => plan.externalPlanId);
  const lacking = known.filter((id) => !listed.includes(id));
  const unmapped = listed.filter((id) => !known.includes(id));
  const base = { check: 'azure.plans' };
  if (lacking.length > 0)
    return {
      ...base,
      result: 'fail',
      detail: `${ours.externalOfferId} lists ${listed.join(', ') || 'no plan'}; the catalog's ${lacking.join(', ')} is not there`,
      remedy:
        'Set externalId in the catalog to the plan id of Partner Center, or publish the plan. A private plan is shown to its own audience only: compare it by hand.',
    };
  if (unmapped.length > 0)
    return {
      ...base,
      result: 'warn',
      detail: `${ours.externalOfferId} lists ${unmapped.join(', ')}, which the catalog lacks: a purchase of it is parked`,
      remedy: 'Add the plan to the catalog, or stop selling it.',
    };
  return { ...base, result: 'pass', detail: `${ours.externalOfferId}: ${known.join(', ')}` };
}

function unitCheck(ours: ExpectedListing, plans: Fields[]): Check {
  const faults: string[] = [];
  const unread: string[] = [];
  for (const plan of ours.plans) {
    const listed = plans.find((one) => textOf(one['planId']) === plan.externalPlanId);
    if (!listed) continue;
    const components = fieldsOf(listed['planComponents']);
    const dimensions = (Array.isArray(components['meteringDimensions']) ? components['meteringDimensions'] : []).map(fieldsOf);
    for (const meter of plan.meters) {
      const where = `${plan.externalPlanId} ${meter.dimension}`;
      const dimension = dimensions.find((one) => textOf(one['id']) === meter.dimension);
      if (!dimension) {
        faults.push(`${where} is not enabled on the plan`);
        continue;
      }
      const theirs = textOf(dimension['unitOfMeasure']) ?? '';
      const [there, here] = [readDataUnit(theirs), readDataUnit(meter.listedUnit)];
      if (!there || !here) unread.push(`${where} is listed as "${theirs}", the catalog says "${meter.listedUnit}"`);
      else if (there.bytes !== here.bytes || there.per !== here.per)
        faults.push(`${where} is listed as "${theirs}", the catalog says "${meter.listedUnit}"`);
      const included = includedOf(components, meter.dimension);
      if (included !== null && compareDecimals(included, meter.included ?? '0') !== 0)
        faults.push(`${where} includes ${included} in the listing, ${meter.included ?? '0'} in the catalog`);
    }
  }
  const base = { check: 'azure.listed_units' };
  if (faults.length > 0)
    return {
      ...base,
      result: 'fail',
      detail: faults.join('; '),
      remedy:
        'Correct dimension, listedUnit, basePerUnit or included in the catalog. What is wrong in the listing needs a new dimension: a published one is locked.',
    };
  if (unread.length > 0)
    return { ...base, result: 'unknown', detail: unread.join('; '), remedy: 'By hand: the listed unit must be the one of the catalog.' };
  return { ...base, result: 'pass', detail: `${ours.externalOfferId}: dimensions, units and included quantities are those of the listing` };
}

/** Null where the plan does not tell included quantities at all. */
function includedOf(components: Fields, dimension: string): string | null {
  const terms = (Array.isArray(components['recurrentBillingTerms']) ? components['recurrentBillingTerms'] : []).map(fieldsOf);
  // A plan with monthly and yearly terms has two numbers: which one holds is a matter of the purchase.
  if (terms.length !== 1 || !Array.isArray(terms[0]!['meteredQuantityIncluded'])) return null;
  const row = terms[0]!['meteredQuantityIncluded'].map(fieldsOf).find((one) => textOf(one['dimensionId']) === dimension);
  return row ? decimalOf(row['units']) : '0';
}
