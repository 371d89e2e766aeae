import {
  type Deadlines,
  type FulfillmentEvent,
  type InboundRequest,
  type InboundVerdict,
  type LandingResolution,
  type MarketplaceAdapter,
  MarketplaceRefusal,
  MarketplaceUnknown,
  type PublisherChange,
  type PublisherChangeProgress,
  type PulledMessage,
  type ReadBackLine,
  type ReadBackQuery,
  type RequestedChange,
  type StoredInbound,
  type SubscriptionTruth,
  type UsageItemInput,
  type UsageItemOutcome,
  type UsageWireItem,
} from '../index.js';
import { FakeCounter } from './fake-counter.js';
import { isKnownKind, parseMessage, SECRET } from './fake-message.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** A marketplace in memory: the adapter, and the controls of the other side of the counter. For tests of other libs. */
export class FakeMarketplace extends FakeCounter implements MarketplaceAdapter {
  readonly listing = { minIntervalMs: 60_000, lagMs: 600_000 };

  async verifyInbound(request: InboundRequest): Promise<InboundVerdict> {
    if (request.headers['x-fake-secret'] !== SECRET)
      return { ok: false, status: 401, code: 'fake.secret_wrong', detail: 'the sender is not the marketplace' };
    const message = parseMessage(request.body);
    if (!message) return { ok: false, status: 400, code: 'fake.body_not_object', detail: 'the body is no message' };
    const change = this.changes.get(message.changeId ?? '');
    return {
      ok: true,
      source: this.source,
      naturalKey: message.id,
      principal: 'fake',
      decisionWanted: message.kind === 'change' && change?.status === 'pending' && !change.requestedByUs,
    };
  }

  async normalise(stored: StoredInbound): Promise<FulfillmentEvent[]> {
    const message = parseMessage(stored.body);
    if (!message) return [];
    return this.line.around('normalise', message.subscriptionId, () => {
      const event: FulfillmentEvent = {
        kind: 'noted',
        marketplace: this.marketplace,
        externalSubscriptionId: message.subscriptionId,
        occurredAt: new Date(message.at),
        truth: this.seen(message.subscriptionId),
        note: message.kind,
      };
      const found = this.changes.get(message.changeId ?? '');
      if (message.kind === 'change' && found) {
        const { status, externalSubscriptionId: _id, ...change } = found;
        return [
          { ...event, kind: status === 'pending' ? 'change_requested' : status === 'succeeded' ? 'changed' : 'change_dropped', change },
        ];
      }
      if (!isKnownKind(message.kind)) return [event];
      const kind = message.kind;
      return [
        {
          ...event,
          kind,
          ...(kind === 'ended' || kind === 'end_scheduled' ? { effectiveAt: event.truth?.endsAt ?? event.occurredAt } : {}),
        },
      ];
    });
  }

  /** Private offers of a purchase, as a test sets them. */
  readonly privateOffers = new Map<string, string[]>();

  async readPrivateOffers(id: string): Promise<string[]> {
    return this.line.around('readTruth', id, () => this.privateOffers.get(id) ?? []);
  }

  async readTruth(id: string): Promise<SubscriptionTruth | null> {
    return this.line.around('readTruth', id, () => this.seen(id));
  }

  async resolveLanding(fields: Record<string, string>): Promise<LandingResolution> {
    const token = fields['token'] ?? '';
    if (token === '') return { ok: false, code: 'landing.token_missing', detail: 'a token is needed' };
    return this.line.around('resolveLanding', 'landing', () => {
      const truth = this.seen(this.tokens.get(token) ?? '');
      return truth
        ? { ok: true as const, truth, buyerAccountId: truth.beneficiary?.directoryId ?? null }
        : { ok: false as const, code: 'landing.token_invalid' as const, detail: 'the token is not known' };
    });
  }

  async acknowledge(truth: SubscriptionTruth): Promise<void> {
    const id = truth.externalSubscriptionId;
    await this.line.around('acknowledge', id, () => {
      const state = this.seen(id)?.state;
      if (!state || state === 'ended' || state === 'voided')
        throw new MarketplaceRefusal('fake.subscription_ended', 'it cannot be activated');
      this.waiting.delete(truth.purchaser?.accountId ?? '');
      if (state !== 'suspended' && state !== 'active') this.patch(id, { state: 'active' });
    });
  }

  async answerChange(truth: SubscriptionTruth, change: RequestedChange, answer: { accept: boolean }): Promise<void> {
    await this.line.around('answerChange', truth.externalSubscriptionId, () => this.buyerChanges.answer(truth, change, answer.accept));
  }

  startPublisherChange(truth: SubscriptionTruth, change: PublisherChange): Promise<PublisherChangeProgress> {
    const id = truth.externalSubscriptionId;
    return this.line.around('startPublisherChange', id, () => this.publisherChanges.start(id, change));
  }

  readPublisherChange(id: string, change: PublisherChange, operationId: string | null): Promise<PublisherChangeProgress> {
    return Promise.resolve(this.publisherChanges.read(id, change, operationId));
  }

  decisionAnswer(answer: { accept: boolean; reason?: string }): { status: number; body?: unknown } {
    return answer.accept ? { status: 200, body: {} } : { status: 400, body: { message: answer.reason ?? 'refused' } };
  }

  buildUsageItem(input: UsageItemInput): UsageWireItem {
    return this.book.build(input);
  }

  async submitUsage(items: UsageWireItem[]): Promise<UsageItemOutcome[]> {
    if (items.length > this.usage.batchSize) throw new MarketplaceRefusal('fake.batch_too_large', `${items.length} items`);
    try {
      return await this.line.around('submitUsage', `${items.length} items`, () => items.map((item) => this.book.take(item)));
    } catch (error) {
      if (!(error instanceof MarketplaceUnknown)) throw error;
      return items.map(({ itemId }) => ({ itemId, outcome: 'unknown', detail: error.message }));
    }
  }

  batchKey(): string {
    return 'fake';
  }

  deadlines({ hourStart, hourEnd, endedAt }: { hourStart: Date; hourEnd: Date; endedAt: Date | null }): Deadlines {
    const hard = hourStart.getTime() + DAY;
    const target = endedAt ? Math.max(hourEnd.getTime(), endedAt.getTime()) + HOUR : hourEnd.getTime() + 20 * HOUR;
    return { target: new Date(Math.min(target, hard)), hard: new Date(hard) };
  }

  async readBack(query: ReadBackQuery): Promise<ReadBackLine[]> {
    return this.line.around('readBack', query.externalSubscriptionId ?? 'all', () => this.book.readBack(query));
  }

  async *listAll(): AsyncGenerator<SubscriptionTruth> {
    const view = (id: string): SubscriptionTruth | null => {
      const kept = this.listed.get(id);
      return kept === undefined ? this.seen(id) : kept;
    };
    yield* await this.line.around('listAll', 'all', () => [...this.truths.keys()].map(view).filter((truth) => truth !== null));
  }

  async pendingMessages(id: string): Promise<PulledMessage[]> {
    return this.line.around('pendingMessages', id, () =>
      this.buyerChanges.waiting(id).map((changeId) => {
        const { receivedAt: _, ...message } = this.stored(this.told.get(changeId)!);
        return { ...message, principal: 'fake', externalSubscriptionId: id };
      }),
    );
  }

  async *listWaitingBuyers(): AsyncGenerator<{ buyerAccountId: string }> {
    yield* [...this.waiting].map((buyerAccountId) => ({ buyerAccountId }));
  }

  async doctor(): ReturnType<MarketplaceAdapter['doctor']> {
    return [{ check: 'fake', result: 'pass', detail: 'in memory' }];
  }
}
