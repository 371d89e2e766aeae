import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, MarketplaceUnreadable } from '#marketplaces/core';
import type { Clock } from '#platform';
import { type ApiAnswer, type ApiClient, failureOf, isOk } from './api-client.js';
import { fieldsOf, jsonOf, lastSegment, listOf, textOf } from './liberal.js';
import { type GcpSettings, TIMEOUTS_MS, withoutSlash } from './settings.js';
import { type Account, accountOf, type Entitlement, entitlementOf, signUpOf } from './truth.js';

const MAX_PAGES = 10_000;
const PAGE_SIZE = '200';
const MAX_VIEW = 8_000;

/** Partner Procurement API (contract gcp §2): the reads on which everything is decided, and the one way to change something. */
export class Procurement {
  private readonly base: string;

  constructor(
    settings: GcpSettings,
    private readonly api: ApiClient,
    private readonly clock: Clock,
    private readonly onOddRow: (name: string | null) => void,
  ) {
    this.base = `${withoutSlash(settings.procurementUrl)}/v1/providers/${encodeURIComponent(settings.providerId)}`;
  }

  /** Null where there is none: never, or deleted some 60 days after its end. */
  async entitlement(entitlementId: string): Promise<Entitlement | null> {
    const id = lastSegment(entitlementId);
    if (!id || id !== entitlementId) return null;
    const raw = await this.get('getEntitlement', `/entitlements/${encodeURIComponent(id)}`);
    if (raw === null) return null;
    const entitlement = entitlementOf(raw, this.clock.now());
    if (entitlement?.id === id) return entitlement;
    // Its own answer for another purchase, or none at all, is a fault that passes; an entitlement that we do not understand stays one.
    if (lastSegment(fieldsOf(raw)['name']) !== id) throw new MarketplaceBusy('getEntitlement: the answer is not the entitlement');
    throw new MarketplaceUnreadable(
      'gcp.entitlement_unreadable',
      'the entitlement has no product or plan, or a state that is not known',
      JSON.stringify(raw).slice(0, MAX_VIEW),
    );
  }

  /**
   * The same with what its account says: a buyer who signed up for an earlier purchase is not asked again (contract gcp §1). A
   * purchase that waits for a later day is provisioned when that comes.
   */
  async entitlementWithBuyer(entitlementId: string): Promise<Entitlement | null> {
    const found = await this.entitlement(entitlementId);
    if (!found?.accountId || found.truth.state !== 'pending_fulfillment') return found;
    const account = await this.account(found.accountId);
    const reseller = account?.resellerBillingAccount ? { accountId: account.resellerBillingAccount, authorizationId: null } : null;
    return { ...found, truth: { ...found.truth, buyerReady: signUpOf(account) === 'APPROVED', reseller } };
  }

  async account(accountId: string): Promise<Account | null> {
    const id = lastSegment(accountId);
    if (!id) return null;
    // Only the full view tells who resold it.
    const raw = await this.get('getAccount', `/accounts/${encodeURIComponent(id)}`, { view: 'ACCOUNT_VIEW_FULL' });
    if (raw === null) return null;
    const account = accountOf(raw);
    if (!account || account.id !== id) throw new MarketplaceBusy('getAccount: the answer is no account');
    return account;
  }

  async entitlementsOf(accountId: string): Promise<Entitlement[]> {
    const id = lastSegment(accountId);
    if (!id) return [];
    const found: Entitlement[] = [];
    // Quoted: an id holds more than letters, digits and underscores (contract gcp §2).
    for await (const one of this.list(`account="${id}"`)) if (one.accountId === id) found.push(one);
    return found;
  }

  /** Page by page, every product of the provider; foreign ones are the caller's to leave alone. */
  async *list(filter?: string): AsyncGenerator<Entitlement> {
    for await (const raw of this.pages('listEntitlements', 'entitlements', filter)) {
      const one = entitlementOf(raw, this.clock.now());
      if (one) yield one;
      else this.onOddRow(textOf(fieldsOf(raw)['name']));
    }
  }

  /** Every account of the provider's products, page by page, with its approvals. */
  async *accounts(): AsyncGenerator<Account> {
    for await (const raw of this.pages('listAccounts', 'accounts')) {
      const one = accountOf(raw);
      if (one) yield one;
    }
  }

  private async *pages(operation: string, what: 'entitlements' | 'accounts', filter?: string): AsyncGenerator<unknown> {
    let pageToken: string | null = null;
    const seen = new Set<string>();
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const query: Record<string, string> = { pageSize: PAGE_SIZE, ...(filter ? { filter } : {}), ...(pageToken ? { pageToken } : {}) };
      const answer = await this.api.call({
        method: 'GET',
        url: `${this.base}/${what}`,
        query,
        timeoutMs: TIMEOUTS_MS.list,
        changes: false,
        operation,
      });
      if (!isOk(answer)) throw failureOf(operation, answer, false);
      const body = parsed(operation, answer.text);
      yield* listOf(fieldsOf(body)[what]);
      pageToken = textOf(fieldsOf(body)['nextPageToken']);
      if (!pageToken) return;
      if (seen.has(pageToken)) throw new MarketplaceRefusal('gcp.list_loops', 'a page of the list leads to an earlier one');
      seen.add(pageToken);
    }
  }

  async firstPage(): Promise<void> {
    const answer = await this.api.call({
      method: 'GET',
      url: `${this.base}/entitlements`,
      query: { pageSize: '1' },
      timeoutMs: TIMEOUTS_MS.read,
      changes: false,
      operation: 'listEntitlements',
    });
    if (!isOk(answer)) throw failureOf('listEntitlements', answer, false);
  }

  /**
   * Null when it was taken. A throttled call or one that was never sent has had no effect and is thrown at once; what else went
   * wrong is judged by the caller, who re-reads: none of these calls is documented as idempotent.
   */
  async attempt(operation: string, path: string, body: unknown, patch?: { updateMask: string }): Promise<Error | null> {
    let answer: ApiAnswer;
    try {
      answer = await this.api.call({
        method: patch ? 'PATCH' : 'POST',
        url: `${this.base}${path}`,
        ...(patch ? { query: { ...patch } } : {}),
        body: JSON.stringify(body),
        timeoutMs: TIMEOUTS_MS.write,
        changes: true,
        operation,
      });
    } catch (error) {
      if (error instanceof MarketplaceUnknown) return error;
      throw error;
    }
    return isOk(answer) ? null : failureOf(operation, answer, true);
  }

  private async get(operation: string, path: string, query: Record<string, string> = {}): Promise<unknown> {
    const answer = await this.api.call({
      method: 'GET',
      url: `${this.base}${path}`,
      query,
      timeoutMs: TIMEOUTS_MS.read,
      changes: false,
      operation,
    });
    if (answer.status === 404) return null;
    if (!isOk(answer)) throw failureOf(operation, answer, false);
    return parsed(operation, answer.text);
  }
}

function parsed(operation: string, text: string): unknown {
  const body = jsonOf(text);
  if (body === undefined) throw new MarketplaceBusy(`${operation}: the answer is not JSON`);
  return body;
}
