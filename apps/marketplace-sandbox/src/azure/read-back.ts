import { SECOND } from '../shared/clock.js';
import { ExactNumber, sumDecimals } from '../shared/exact-json.js';
import { type AzureCaller, isAppOf } from './auth.js';
import type { AzureContext } from './context.js';
import { AzureError } from './errors.js';
import { offerOf, planOf } from './settings.js';
import type { AcceptedUsage } from './types.js';

/** GET usageEvents: a bare array, one row per day, resource, plan and dimension (contract azure §6, Reconciliation). */
export function readBack(context: AzureContext, caller: AzureCaller, query: Record<string, string | undefined>): object[] {
  // Query names are case-insensitive; the documents spell UsageEndDate with a capital.
  const given = Object.fromEntries(Object.entries(query).map(([name, value]) => [name.toLowerCase(), value]));
  const start = dayOf(given['usagestartdate'], 'usageStartDate');
  if (!start) throw argumentError('usageStartDate', 'The usageStartDate is required.');
  const end = dayOf(given['usageenddate'], 'usageEndDate');
  const settings = context.settings();
  const processedBefore = context.clock.nowMs() - settings.reconDelaySeconds * SECOND;

  const groups = new Map<string, { row: Record<string, unknown>; status: string; quantities: string[] }>();
  for (const usage of context.state.usage.values()) {
    const offer = offerOf(settings, usage.offerId);
    const subscription = context.state.resource(usage.resourceId);
    if (!offer || !subscription || !isAppOf(caller, offer, settings)) continue;
    const day = usage.hour.slice(0, 10);
    const status = Date.parse(usage.acceptedAt) <= processedBefore ? 'Accepted' : 'Submitted';
    if (day < start || (end !== undefined && day > end)) continue;
    if (!matches(given, usage, subscription.azureSubscriptionId, status)) continue;
    const key = [day, usage.resourceId, usage.dimension, usage.planId, status].join('|');
    const group = groups.get(key) ?? {
      row: {
        usageDate: `${day}T00:00:00Z`,
        usageResourceId: usage.resourceId,
        dimension: usage.dimension,
        planId: usage.planId,
        planName: planOf(settings, usage.offerId, usage.planId)?.displayName ?? usage.planId,
        offerId: usage.offerId,
        offerName: offer.displayName,
        offerType: 'SaaS',
        azureSubscriptionId: subscription.azureSubscriptionId,
        reconStatus: status,
      },
      status,
      quantities: [],
    };
    group.quantities.push(usage.quantity);
    groups.set(key, group);
  }
  return [...groups.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { row, status, quantities }]) => ({
      ...row,
      submittedQuantity: new ExactNumber(sumDecimals(quantities)),
      processedQuantity: new ExactNumber(status === 'Accepted' ? sumDecimals(quantities) : '0'),
      submittedCount: quantities.length,
    }));
}

function matches(given: Record<string, string | undefined>, usage: AcceptedUsage, azureSubscriptionId: string, status: string): boolean {
  const wanted: [string, string][] = [
    ['offerid', usage.offerId],
    ['planid', usage.planId],
    ['dimension', usage.dimension],
    ['azuresubscriptionid', azureSubscriptionId],
    ['reconstatus', status],
  ];
  return wanted.every(([name, value]) => !given[name] || given[name]?.toLowerCase() === value.toLowerCase());
}

function dayOf(text: string | undefined, name: string): string | undefined {
  if (!text) return undefined;
  const instant = Date.parse(text);
  if (!/^\d{4}-\d{2}-\d{2}/.test(text) || Number.isNaN(instant)) throw argumentError(name, `The ${name} is not a date.`);
  return text.slice(0, 10);
}

function argumentError(target: string, message: string): AzureError {
  return new AzureError(400, {
    message: 'One or more errors have occurred.',
    target,
    details: [{ message, target, code: 'BadArgument' }],
    code: 'BadArgument',
  });
}
