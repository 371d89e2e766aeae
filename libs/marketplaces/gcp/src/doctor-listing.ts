import { type Check, type DoctorOptions, planIdsOf, timeLimited } from '#marketplaces/core';
import { errorText } from '#platform';
import type { MetricTypes } from './metric-types.js';
import type { Procurement } from './procurement.js';
import type { GcpSettings } from './settings.js';

const MOST_ROWS = 500;

/**
 * Google has no call that tells the plans of a listing; purchases name their plan (contract gcp §2). So a purchase of a plan we
 * do not know is a fault, and without purchases nothing can be compared.
 */
export async function listingChecks(
  settings: GcpSettings,
  procurement: Procurement,
  types: MetricTypes,
  options: DoctorOptions,
  reachable: boolean,
): Promise<Check[]> {
  const listings = options.listings ?? [];
  if (listings.length === 0) return [];
  const remedy = 'By hand: compare offer, plan ids (some carry a term suffix such as -P1Y) and metric names with Producer Portal, Pricing.';
  return [metricCheck(settings, options), await typeCheck(), await planCheck()];

  async function typeCheck(): Promise<Check> {
    const base = { check: 'gcp.metric_types' };
    try {
      const live = await timeLimited(() => types.read(), options.timeoutMs);
      const missing = [...new Set(dimensionsOf(options))].filter((name) => !live.has(name));
      if (missing.length > 0)
        return {
          ...base,
          result: 'fail',
          detail: `the live configuration of ${settings.serviceName} has no metric ${missing.join(', ')}`,
          remedy: 'Copy each dimension of the catalog from Producer Portal: metric ids are irregular, and there is one per plan.',
        };
      const told = [...new Set(dimensionsOf(options))].map((name) => `${name.split('/').at(-1) ?? name} ${live.get(name) ?? ''}`);
      return { ...base, result: 'pass', detail: told.join(', ') };
    } catch (error) {
      return {
        ...base,
        result: 'unknown',
        detail: errorText(error),
        remedy:
          'Give the service account servicemanagement.services.get, or name the type of all metrics in GCP_UNREAD_METRIC_TYPE; until then usage waits.',
      };
    }
  }

  async function planCheck(): Promise<Check> {
    const base = { check: 'gcp.plans' };
    if (!reachable) return { ...base, result: 'unknown', detail: 'not tried without the list of purchases', remedy };
    try {
      const { seen, unmapped } = await timeLimited(() => plansOfPurchases(), options.timeoutMs);
      if (unmapped.size > 0)
        return {
          ...base,
          result: 'fail',
          detail: `there are purchases of ${[...unmapped].join(', ')}, which the catalog lacks: they are parked`,
          remedy: 'Add the plan to the catalog under exactly this id.',
        };
      const unseen = listings.flatMap((l) => l.plans.map((p) => p.externalPlanId)).filter((id) => !seen.has(id));
      if (unseen.length > 0) return { ...base, result: 'unknown', detail: `no purchase of ${unseen.join(', ')} has been seen`, remedy };
      return { ...base, result: 'pass', detail: `each plan has been bought under the id of the catalog: ${[...seen].join(', ')}` };
    } catch (error) {
      return { ...base, result: 'unknown', detail: errorText(error), remedy };
    }
  }

  async function plansOfPurchases(): Promise<{ seen: Set<string>; unmapped: Set<string> }> {
    const seen = new Set<string>();
    const unmapped = new Set<string>();
    let rows = 0;
    for await (const { truth } of procurement.list()) {
      if ((rows += 1) > MOST_ROWS) break;
      const ours = listings.find((l) => l.externalOfferId === truth.externalOfferId);
      if (!ours || truth.state === 'ended') continue;
      const id = planIdsOf('gcp', truth.externalPlanId).find((one) => ours.plans.some((p) => p.externalPlanId === one));
      if (id === undefined) unmapped.add(truth.externalPlanId);
      else seen.add(id);
    }
    return { seen, unmapped };
  }
}

const dimensionsOf = (options: DoctorOptions): string[] =>
  (options.listings ?? []).flatMap((l) => l.plans.flatMap((p) => p.meters.map((m) => m.dimension)));

/** One wrong metric name refuses every report it stands in (contract gcp §4). */
function metricCheck(settings: GcpSettings, options: DoctorOptions): Check {
  const foreign = [...new Set(dimensionsOf(options))].filter((name) => !name.startsWith(`${settings.serviceName}/`));
  const base = { check: 'gcp.metrics' };
  return foreign.length > 0
    ? {
        ...base,
        result: 'fail',
        detail: `not metrics of ${settings.serviceName}: ${foreign.join(', ')}`,
        remedy: 'Copy each dimension of the catalog from Producer Portal with the service in front, or correct GCP_SERVICE_NAME.',
      }
    : { ...base, result: 'pass', detail: `the metrics of the catalog are named after ${settings.serviceName}` };
}
