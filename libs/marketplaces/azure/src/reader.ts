import { MarketplaceBusy, MarketplaceRefusal, type SubscriptionTruth } from '#marketplaces/core';
import type { Clock } from '#platform';
import { type ApiClient, failureOf } from './api-client.js';
import { fieldsOf, guidOf, textOf } from './liberal.js';
import { type AzureOperation, operationOf } from './operations.js';
import type { AzureSettings } from './settings.js';
import { truthOf } from './truth.js';

const MAX_PAGES = 10_000;

/** The reads on which everything else is decided. */
export class AzureReader {
  constructor(
    private readonly settings: AzureSettings,
    private readonly api: ApiClient,
    private readonly clock: Clock,
    private readonly onOddRow: (id: string | null) => void,
  ) {}

  /** Get Subscription; null where there is none. */
  async subscription(externalSubscriptionId: string): Promise<SubscriptionTruth | null> {
    const id = guidOf(externalSubscriptionId);
    if (!id) return null;
    // Of two reads at once the one that was asked for first must not count as the newer view, however late its answer comes.
    const askedAt = this.clock.now();
    const answer = await this.api.call({
      method: 'GET',
      path: `/saas/subscriptions/${id}`,
      timeoutMs: this.settings.timeoutsMs.read,
      changes: false,
      operation: 'getSubscription',
    });
    if (answer.status === 404) return null;
    if (answer.status !== 200) throw failureOf('getSubscription', answer, false);
    const truth = truthOf(parsed('getSubscription', answer.text), askedAt);
    if (!truth || truth.externalSubscriptionId !== id) throw new MarketplaceBusy('getSubscription: the answer is no subscription');
    return truth;
  }

  /** Get Operation; null where there is none. The running service answers 400 where the documents say 404. */
  async operation(subscriptionId: string, operationId: string): Promise<AzureOperation | null> {
    const [id, op] = [guidOf(subscriptionId), guidOf(operationId)];
    if (!id || !op) return null;
    const answer = await this.api.call({
      method: 'GET',
      path: `/saas/subscriptions/${id}/operations/${op}`,
      timeoutMs: this.settings.timeoutsMs.read,
      changes: false,
      operation: 'getOperation',
    });
    if (answer.status === 404 || answer.status === 400) return null;
    if (answer.status !== 200) throw failureOf('getOperation', answer, false);
    return operationOf(parsed('getOperation', answer.text));
  }

  /** `sourceOffers` of one plan as this buyer is shown it (contract azure §3, §8); empty where the plan or the purchase is unknown. */
  async privateOffers(externalSubscriptionId: string, externalPlanId: string): Promise<string[]> {
    const id = guidOf(externalSubscriptionId);
    if (!id) return [];
    const answer = await this.api.call({
      method: 'GET',
      path: `/saas/subscriptions/${id}/listAvailablePlans`,
      query: { planId: externalPlanId },
      timeoutMs: this.settings.timeoutsMs.read,
      changes: false,
      operation: 'listAvailablePlans',
    });
    if (answer.status === 404) return [];
    if (answer.status !== 200) throw failureOf('listAvailablePlans', answer, false);
    if (answer.text.trim() === '') return [];
    const plans = fieldsOf(parsed('listAvailablePlans', answer.text))['plans'];
    // The filter is optional there: a service that does not know it answers all plans.
    const plan = (Array.isArray(plans) ? plans : []).map(fieldsOf).find((one) => textOf(one['planId']) === externalPlanId);
    const offers: unknown = plan?.['sourceOffers'];
    return (Array.isArray(offers) ? offers : []).flatMap((offer) => textOf(fieldsOf(offer)['externalId']) ?? []);
  }

  /** Operations that are still pending; empty where the purchase is not known (contract azure §3). */
  async pendingOperations(subscriptionId: string): Promise<AzureOperation[]> {
    const id = guidOf(subscriptionId);
    if (!id) return [];
    const answer = await this.api.call({
      method: 'GET',
      path: `/saas/subscriptions/${id}/operations`,
      timeoutMs: this.settings.timeoutsMs.read,
      changes: false,
      operation: 'listOperations',
    });
    if (answer.status === 404 || answer.status === 400) return [];
    if (answer.status !== 200) throw failureOf('listOperations', answer, false);
    if (answer.text.trim() === '') return [];
    const rows = fieldsOf(parsed('listOperations', answer.text))['operations'];
    return (Array.isArray(rows) ? rows : []).flatMap((row) => operationOf(row) ?? []).filter((one) => one.status === 'pending');
  }

  /** All purchases, page by page. Unsubscribed ones stay listed for ever (contract azure §4). */
  async *list(): AsyncGenerator<SubscriptionTruth> {
    let query: Record<string, string> = {};
    const seen = new Set<string>();
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const answer = await this.api.call({
        method: 'GET',
        path: '/saas/subscriptions',
        query,
        timeoutMs: this.settings.timeoutsMs.read * 3,
        changes: false,
        operation: 'listSubscriptions',
      });
      if (answer.status !== 200) throw failureOf('listSubscriptions', answer, false);
      // No body at all when there is nothing.
      const body = answer.text.trim() === '' ? {} : fieldsOf(parsed('listSubscriptions', answer.text));
      for (const raw of Array.isArray(body['subscriptions']) ? body['subscriptions'] : []) {
        const truth = truthOf(raw, this.clock.now());
        if (!truth) this.onOddRow(textOf(fieldsOf(raw)['id']));
        else if (!this.settings.publisherId || truth.refs['publisherId'] === this.settings.publisherId) yield truth;
      }
      const next = textOf(body['@nextLink']) ?? textOf(body['nextLink']);
      if (!next) return;
      query = nextQuery(next);
      const key = JSON.stringify(query);
      if (seen.has(key)) throw new MarketplaceRefusal('azure.list_loops', 'a page of the list leads to an earlier one');
      seen.add(key);
    }
  }
}

/** Only the link's query is used: with our token we follow nobody to another host. */
function nextQuery(link: string): Record<string, string> {
  if (!URL.canParse(link, 'https://invalid.invalid'))
    throw new MarketplaceRefusal('azure.list_link', 'the link to the next page is no URL');
  const { searchParams } = new URL(link, 'https://invalid.invalid');
  const query = Object.fromEntries([...searchParams].filter(([name]) => name.toLowerCase() !== 'api-version'));
  if (Object.keys(query).length === 0) throw new MarketplaceRefusal('azure.list_link', 'the link to the next page names no page');
  return query;
}

export function parsed(operation: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new MarketplaceBusy(`${operation}: the answer is not JSON`);
  }
}
