import {
  MarketplaceBusy,
  type MarketplaceRefs,
  MarketplaceRefusal,
  MarketplaceUnknown,
  type ServiceVerdict,
  type UsageItemOutcome,
  type UsageWireItem,
} from '#marketplaces/core';
import { uuidv5 } from '#platform';
import type { components } from '../../../../openapi/generated/gcp-servicecontrol.js';
import { type ApiAnswer, type ApiClient, failureOf, isOk, NOT_ABOUT_CONTENT } from './api-client.js';
import { textOf } from './liberal.js';
import type { Procurement } from './procurement.js';
import { type GcpSettings, TIMEOUTS_MS, withoutSlash } from './settings.js';
import { OPERATION_NAME, operationBytes, operationsOf } from './usage-item.js';
import { type Blocked, readCheckAnswer, readReportAnswer } from './usage-outcomes.js';

type Schemas = components['schemas'];

const BATCH_SIZE = 100;
const CHECKS_AT_ONCE = 8;
const REFUSED_CHECK_MS = 15 * 60_000;

/**
 * Service Control: `check` once for each consumer of a batch, then one `report` for those that pass. A clean check would hold
 * for a minute (contract gcp §4); it is asked anew for each batch, because a batch goes out at most every hour or so.
 */
export class GcpMetering {
  constructor(
    private readonly settings: GcpSettings,
    private readonly api: ApiClient,
    private readonly procurement: Procurement,
  ) {}

  async submit(items: UsageWireItem[]): Promise<UsageItemOutcome[]> {
    if (items.length === 0) return [];
    if (items.length > BATCH_SIZE)
      throw new MarketplaceRefusal('gcp.batch_too_large', `${items.length} operations; ${BATCH_SIZE} are sent at once`);
    const blocked = await this.checkAll(items);
    const outcomes: UsageItemOutcome[] = [];
    const go: UsageWireItem[] = [];
    for (const item of items) {
      const why = blocked.get(purchaseKey(item));
      if (why) {
        const { code, detail, retryAfterMs, stopsService } = why;
        outcomes.push({
          itemId: item.itemId,
          outcome: 'deferred',
          code,
          detail,
          retryAfterMs,
          ...(stopsService ? { serviceBlocked: true } : {}),
        });
      } else go.push(item);
    }
    return go.length === 0 ? outcomes : [...outcomes, ...(await this.report(go))];
  }

  private async report(items: UsageWireItem[]): Promise<UsageItemOutcome[]> {
    const lost = (detail: string): UsageItemOutcome[] => items.map(({ itemId }) => ({ itemId, outcome: 'unknown', detail }));
    let answer: ApiAnswer;
    try {
      // Each operation's bytes as they were stored, so that a resend is the identical operation.
      answer = await this.call('report', items[0]!.route, `{"operations":[${items.map(operationBytes).join(',')}]}`, true);
    } catch (error) {
      if (error instanceof MarketplaceUnknown) return lost(error.message);
      throw error;
    }
    if (isOk(answer)) return readReportAnswer(items, answer.text, this.settings.safeResend);
    const failure = failureOf('report', answer, true);
    // A failed request does not tell which operations were counted (contract gcp §4).
    if (failure instanceof MarketplaceUnknown) return lost(failure.message);
    // Refused as a whole: which operation is at fault is found by halving, which is the submitter's.
    if (answer.status === 400 || answer.status === 413) throw new MarketplaceRefusal('gcp.batch_refused', failure.message, answer.status);
    throw notAboutContent(failure);
  }

  private async checkAll(items: readonly UsageWireItem[]): Promise<Map<string, Blocked>> {
    const first = new Map<string, UsageWireItem>();
    for (const item of items) if (item.route['ended'] !== 'true' && !first.has(purchaseKey(item))) first.set(purchaseKey(item), item);
    const blocked = new Map<string, Blocked>();
    const open = [...first];
    for (let i = 0; i < open.length; i += CHECKS_AT_ONCE) {
      await Promise.all(
        open.slice(i, i + CHECKS_AT_ONCE).map(async ([key, item]) => {
          const why = await this.check(item);
          if (why) blocked.set(key, why);
        }),
      );
    }
    return blocked;
  }

  /** Asked on its own, so that a buyer without usage is noticed too. */
  async checkService(purchase: { externalSubscriptionId: string; refs: MarketplaceRefs }, now: Date): Promise<ServiceVerdict> {
    const consumerId = textOf(purchase.refs['usageReportingId']);
    if (!consumerId) return { serve: 'unknown', detail: 'the marketplace has not given the usage reporting id of the purchase yet' };
    const { serviceName } = this.settings;
    const entitlementId = purchase.externalSubscriptionId;
    const startTime = now.toISOString();
    const operationId = uuidv5('gcp.check', entitlementId, startTime);
    const why = await this.ask({ operationId, consumerId, startTime }, { serviceName, entitlementId });
    if (!why) return { serve: true };
    // After a cancellation the check says no too: that is told as the end, not as a pause.
    if (why.maybeEnded && (await this.hasEnded({ entitlementId }))) return { serve: 'unknown', detail: 'the purchase has ended' };
    return why.stopsService ? { serve: false, code: why.code, detail: why.detail } : { serve: 'unknown', detail: why.detail };
  }

  private async check(item: UsageWireItem): Promise<Blocked | null> {
    try {
      const why = await this.ask(operationsOf(item)[0]!, item.route);
      // After a cancellation the check says no, but usage from before it is still taken (contract gcp §4, deadlines).
      if (why?.maybeEnded && (await this.hasEnded(item.route))) return null;
      return why;
    } catch (error) {
      // Nothing was reported yet: a refused question is no answer about usage, and holds up this buyer only.
      if (error instanceof MarketplaceRefusal && error.httpStatus === 400)
        return { code: 'gcp.check_refused', detail: error.message, retryAfterMs: REFUSED_CHECK_MS, stopsService: false, maybeEnded: false };
      throw error;
    }
  }

  private async ask(
    { operationId, consumerId, startTime }: Pick<Schemas['Operation'], 'operationId' | 'consumerId' | 'startTime'>,
    route: Record<string, string>,
  ): Promise<Blocked | null> {
    const request: Schemas['CheckRequest'] = { operation: { operationId, operationName: OPERATION_NAME, consumerId, startTime } };
    const answer = await this.call('check', route, JSON.stringify(request), false);
    if (!isOk(answer)) throw notAboutContent(failureOf('check', answer, false));
    const why = readCheckAnswer(answer.text);
    if (why === undefined) throw new MarketplaceBusy('check: the answer is not one of Service Control');
    return why;
  }

  private async hasEnded(route: Record<string, string>): Promise<boolean> {
    const entitlement = await this.procurement.entitlement(route['entitlementId'] ?? '').catch((error: unknown) => {
      throw notAboutContent(error);
    });
    return entitlement === null || entitlement.truth.state === 'ended';
  }

  private call(method: 'check' | 'report', route: Record<string, string>, body: string, changes: boolean): Promise<ApiAnswer> {
    const service = encodeURIComponent(route['serviceName'] ?? this.settings.serviceName);
    return this.api.call({
      method: 'POST',
      url: `${withoutSlash(this.settings.serviceControlUrl)}/v1/services/${service}:${method}`,
      body,
      timeoutMs: method === 'check' ? TIMEOUTS_MS.check : TIMEOUTS_MS.usage,
      changes,
      operation: method,
    });
  }
}

/**
 * A refusal that blames no operation: 404 is a service name or an address of ours, a refused read is no word about usage. Only a 400
 * may mean what was sent.
 */
function notAboutContent(error: unknown): unknown {
  if (!(error instanceof MarketplaceRefusal) || [400, 401, NOT_ABOUT_CONTENT].includes(error.httpStatus ?? 0)) return error;
  return new MarketplaceRefusal(error.code === 'gcp.not_found' ? 'gcp.service_unknown' : error.code, error.message, NOT_ABOUT_CONTENT);
}

const purchaseKey = (item: UsageWireItem): string => `${item.route['consumerId'] ?? ''}|${item.route['entitlementId'] ?? ''}`;
