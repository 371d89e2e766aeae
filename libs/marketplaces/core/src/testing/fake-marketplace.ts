import { randomUUID } from 'node:crypto';
import { type Clock, equalDecimals, sumDecimals } from '#platform';
import {
  type Deadlines,
  type FulfillmentEvent,
  type InboundRequest,
  type InboundVerdict,
  type LandingResolution,
  type Marketplace,
  type MarketplaceAdapter,
  MarketplaceBusy,
  MarketplaceRefusal,
  type MarketplaceState,
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
  type UsageTraits,
  type UsageWireItem,
} from '../index.js';
import { FakePublisherChanges } from './fake-publisher-changes.js';
import { type FakeBilled, type FakeChange, type FakeFault, type FakeOperation, type FakePurchaseInput, TRAITS } from './fake-words.js';
import { isKnownKind, KIND_OF, type Message, parseMessage, SECRET } from './fake-message.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** A marketplace in memory: the adapter, and the controls of the other side of the counter. For tests of other libs. */
export class FakeMarketplace implements MarketplaceAdapter {
  readonly marketplace: Marketplace;
  readonly usage: UsageTraits;
  /** Every call of the port that reached the other side, in order. */
  readonly calls: { operation: FakeOperation; subject: string }[] = [];
  readonly changes = new Map<string, FakeChange & { externalSubscriptionId: string }>();
  readonly publisherChanges = new FakePublisherChanges(
    (id) => this.seen(id),
    (id, change) => this.patch(id, change),
  );
  private readonly truths = new Map<string, SubscriptionTruth>();
  private readonly tokens = new Map<string, string>();
  private readonly accepted = new Map<string, FakeBilled>();
  private readonly told = new Map<string, InboundRequest>();
  private readonly faults: { operation: FakeOperation; fault: FakeFault; retryAfterMs: number | null }[] = [];
  private readonly listed = new Map<string, SubscriptionTruth | null>();
  private readonly waiting = new Set<string>();
  readonly listing = { minIntervalMs: 60_000, lagMs: 600_000 };
  private sequence = 0;

  constructor(
    private readonly clock: Clock,
    options: { marketplace?: Marketplace; usage?: Partial<UsageTraits> } = {},
  ) {
    this.marketplace = options.marketplace ?? 'azure';
    this.usage = { ...TRAITS, ...options.usage };
  }

  // The other side of the counter.

  purchase(input: FakePurchaseInput = {}): { externalSubscriptionId: string; token: string; message: InboundRequest } {
    const id = input.externalSubscriptionId ?? randomUUID();
    const now = this.clock.now();
    this.truths.set(id, {
      marketplace: this.marketplace,
      externalSubscriptionId: id,
      aliases: [],
      state: input.state ?? 'pending_fulfillment',
      name: input.name ?? 'A purchase',
      externalOfferId: input.externalOfferId ?? 'object-cells',
      externalPlanId: input.externalPlanId ?? 'standard',
      quantity: input.quantity ?? null,
      term: input.term ?? { unit: 'P1M', startsAt: now, endsAt: new Date(now.getTime() + 30 * DAY) },
      endsAt: null,
      purchaser: input.beneficiary ?? null,
      beneficiary: input.beneficiary ?? null,
      readOnly: input.readOnly ?? false,
      isTest: input.isTest ?? false,
      isFreeTrial: false,
      supersedes: null,
      refs: { fake: true },
      observedAt: now,
      version: this.version(),
    });
    const token = `fake+token/${randomUUID()}=`;
    this.tokens.set(token, id);
    return { externalSubscriptionId: id, token, message: this.message(id, 'purchased') };
  }

  /** Moves the purchase and gives the message that tells of it. */
  setState(id: string, state: MarketplaceState): InboundRequest {
    const before = this.truthOf(id);
    this.patch(id, { state });
    return this.message(id, state === 'active' && before.state === 'suspended' ? 'reinstated' : KIND_OF[state]);
  }

  /** Any fact of the purchase, without a message: what a sweep has to find. */
  patch(id: string, change: Partial<SubscriptionTruth>): void {
    this.truths.set(id, { ...this.truthOf(id), ...change, version: this.version() });
  }

  requestChange(
    id: string,
    to: { externalPlanId?: string; quantity?: number; requestedByUs?: boolean },
  ): { changeId: string; message: InboundRequest } {
    const changeId = randomUUID();
    const truth = this.truthOf(id);
    const kind = to.externalPlanId === undefined ? 'quantity' : 'plan';
    const isRevert = kind === 'plan' ? to.externalPlanId === truth.externalPlanId : to.quantity === truth.quantity;
    this.changes.set(changeId, {
      externalSubscriptionId: id,
      externalOperationId: changeId,
      kind,
      toExternalPlanId: to.externalPlanId ?? null,
      toQuantity: to.quantity ?? null,
      answerBefore: null,
      requestedByUs: to.requestedByUs ?? false,
      ...(isRevert ? { isRevert } : {}),
      status: 'pending',
    });
    const message = this.message(id, 'change', changeId);
    this.told.set(changeId, message);
    return { changeId, message };
  }

  /** What silence does on Azure. */
  settleChange(changeId: string, accept: boolean): void {
    const change = this.changes.get(changeId);
    if (!change) throw new Error(`no change ${changeId}`);
    change.status = accept ? 'succeeded' : 'failed';
    if (accept)
      this.patch(
        change.externalSubscriptionId,
        change.kind === 'plan' ? { externalPlanId: change.toExternalPlanId! } : { quantity: change.toQuantity },
      );
  }

  /** A pushed message; a kind that is not known is sent as it is. */
  message(id: string, kind: string, changeId?: string): InboundRequest {
    const message: Message = {
      id: changeId ?? randomUUID(),
      subscriptionId: id,
      kind,
      at: this.clock.now().toISOString(),
      ...(changeId ? { changeId } : {}),
    };
    return { headers: { 'x-fake-secret': SECRET, 'content-type': 'application/json' }, query: {}, body: JSON.stringify(message) };
  }

  /** As the inbox would give it back. */
  stored(request: InboundRequest): StoredInbound {
    return {
      source: this.source,
      naturalKey: (JSON.parse(request.body) as Message).id,
      headers: {},
      body: request.body,
      receivedAt: this.clock.now(),
    };
  }

  /** The marketplace takes one accepted item back by itself, as after a claim. */
  takeBack(wireKey: string): void {
    this.accepted.delete(wireKey);
  }

  billed(externalSubscriptionId?: string): FakeBilled[] {
    return [...this.accepted.values()].filter(
      (one) => externalSubscriptionId === undefined || one.externalSubscriptionId === externalSubscriptionId,
    );
  }

  /** The list goes on showing the purchase as it is now, whatever becomes of it; `null`: it leaves the purchase out. */
  listAs(id: string, view: 'as_now' | 'truth' | null): void {
    if (view === 'truth') this.listed.delete(id);
    else this.listed.set(id, view === null ? null : this.seen(id));
  }

  /** A buyer account waits for our approval until a purchase of it is acknowledged. */
  awaitApproval(buyerAccountId: string): void {
    this.waiting.add(buyerAccountId);
  }

  /** The purchase is gone, as after a deletion. */
  forget(id: string): void {
    this.truths.delete(id);
  }

  failNext(operation: FakeOperation, fault: FakeFault, options: { times?: number; retryAfterMs?: number } = {}): void {
    for (let i = 0; i < (options.times ?? 1); i += 1) this.faults.push({ operation, fault, retryAfterMs: options.retryAfterMs ?? null });
  }

  // The port.

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
    return this.around('normalise', message.subscriptionId, () => {
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
    return this.around('readTruth', id, () => this.privateOffers.get(id) ?? []);
  }

  async readTruth(id: string): Promise<SubscriptionTruth | null> {
    return this.around('readTruth', id, () => this.seen(id));
  }

  async resolveLanding(fields: Record<string, string>): Promise<LandingResolution> {
    const token = fields['token'] ?? '';
    if (token === '') return { ok: false, code: 'landing.token_missing', detail: 'a token is needed' };
    return this.around('resolveLanding', 'landing', () => {
      const truth = this.seen(this.tokens.get(token) ?? '');
      return truth
        ? { ok: true as const, truth, buyerAccountId: truth.beneficiary?.directoryId ?? null }
        : { ok: false as const, code: 'landing.token_invalid' as const, detail: 'the token is not known' };
    });
  }

  async acknowledge(truth: SubscriptionTruth): Promise<void> {
    const id = truth.externalSubscriptionId;
    await this.around('acknowledge', id, () => {
      const state = this.seen(id)?.state;
      if (!state || state === 'ended' || state === 'voided')
        throw new MarketplaceRefusal('fake.subscription_ended', 'it cannot be activated');
      this.waiting.delete(truth.purchaser?.accountId ?? '');
      if (state !== 'suspended' && state !== 'active') this.patch(id, { state: 'active' });
    });
  }

  async answerChange(truth: SubscriptionTruth, change: RequestedChange, answer: { accept: boolean }): Promise<void> {
    await this.around('answerChange', truth.externalSubscriptionId, () => {
      const known = this.changes.get(change.externalOperationId);
      if (!known) throw new MarketplaceRefusal('fake.not_found', 'no such change');
      if (known.status === 'pending') this.settleChange(change.externalOperationId, answer.accept);
      else if (known.status === 'failed' && answer.accept) throw new MarketplaceRefusal('fake.change_dropped', 'the change is off');
      // A refusal must hold: what silence accepted is taken back.
      else if (known.status === 'succeeded' && !answer.accept)
        this.patch(
          truth.externalSubscriptionId,
          change.kind === 'plan' ? { externalPlanId: truth.externalPlanId } : { quantity: truth.quantity },
        );
    });
  }

  startPublisherChange(truth: SubscriptionTruth, change: PublisherChange): Promise<PublisherChangeProgress> {
    const id = truth.externalSubscriptionId;
    return this.around('startPublisherChange', id, () => this.publisherChanges.start(id, change));
  }

  readPublisherChange(id: string, change: PublisherChange, operationId: string | null): Promise<PublisherChangeProgress> {
    return Promise.resolve(this.publisherChanges.read(id, change, operationId));
  }

  decisionAnswer(answer: { accept: boolean; reason?: string }): { status: number; body?: unknown } {
    return answer.accept ? { status: 200, body: {} } : { status: 400, body: { message: answer.reason ?? 'refused' } };
  }

  buildUsageItem(input: UsageItemInput): UsageWireItem {
    const number = /^(?:0|[1-9]\d*)(?:\.(\d+))?$/.exec(input.quantity);
    if (!number || (number[1] ?? '').length > this.usage.maxDecimals)
      throw new MarketplaceRefusal('fake.invalid_quantity', 'not a quantity this marketplace takes');
    if (!this.usage.zeroWanted && equalDecimals(input.quantity, '0'))
      throw new MarketplaceRefusal('fake.invalid_quantity', 'zero is not taken');
    const hour = new Date(Math.floor(input.hourStart.getTime() / HOUR) * HOUR).toISOString();
    return {
      itemId: input.itemId,
      wireKey: `${input.externalSubscriptionId}|${input.dimension}|${hour}${this.usage.hourKey === 'one_per_hour' ? '' : `|${input.itemId}`}`,
      body: JSON.stringify({
        id: input.externalSubscriptionId,
        plan: input.externalPlanId,
        dimension: input.dimension,
        hour,
        quantity: input.quantity,
        ...(input.parts ? { parts: input.parts } : {}),
      }),
      route: {},
    };
  }

  async submitUsage(items: UsageWireItem[]): Promise<UsageItemOutcome[]> {
    if (items.length > this.usage.batchSize) throw new MarketplaceRefusal('fake.batch_too_large', `${items.length} items`);
    try {
      return await this.around('submitUsage', `${items.length} items`, () => items.map((item) => this.take(item)));
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
    return this.around('readBack', query.externalSubscriptionId ?? 'all', () => {
      const groups = new Map<string, FakeBilled[]>();
      for (const one of this.billed(query.externalSubscriptionId)) {
        const day = Math.floor(Date.parse(one.hour) / DAY) * DAY;
        if (day + DAY <= query.from.getTime() || day >= query.to.getTime()) continue;
        const key = [day, one.externalSubscriptionId, one.externalPlanId, one.dimension].join('|');
        groups.set(key, [...(groups.get(key) ?? []), one]);
      }
      return [...groups.values()].map((group) => {
        const { hour, externalSubscriptionId, externalPlanId, dimension } = group[0]!;
        const day = Math.floor(Date.parse(hour) / DAY) * DAY;
        return {
          periodStart: new Date(day),
          periodEnd: new Date(day + DAY),
          externalSubscriptionId,
          externalPlanId,
          dimension,
          quantity: sumDecimals(group.map((g) => g.quantity)),
          count: group.length,
          provisional: false,
        };
      });
    });
  }

  async *listAll(): AsyncGenerator<SubscriptionTruth> {
    const view = (id: string): SubscriptionTruth | null => {
      const kept = this.listed.get(id);
      return kept === undefined ? this.seen(id) : kept;
    };
    yield* await this.around('listAll', 'all', () => [...this.truths.keys()].map(view).filter((truth) => truth !== null));
  }

  async pendingMessages(id: string): Promise<PulledMessage[]> {
    return this.around('pendingMessages', id, () =>
      [...this.changes]
        .filter(([, change]) => change.externalSubscriptionId === id && change.status === 'pending' && !change.requestedByUs)
        .map(([changeId]) => {
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

  private get source(): string {
    return `${this.marketplace}.fake`;
  }

  private take(item: UsageWireItem): UsageItemOutcome {
    const { itemId } = item;
    const { id, plan, dimension, hour, quantity } = JSON.parse(item.body) as {
      id: string;
      plan: string;
      dimension: string;
      hour: string;
      quantity: string;
    };
    const truth = this.truths.get(id);
    if (!truth) return { itemId, outcome: 'rejected', code: 'fake.resource_not_found', detail: 'no such purchase' };
    const earlier = this.accepted.get(item.wireKey);
    if (earlier) {
      const same = equalDecimals(earlier.quantity, quantity) && earlier.externalPlanId === plan;
      return {
        itemId,
        outcome: same ? 'duplicate_equal' : 'duplicate_conflict',
        receipt: earlier.receipt,
        acceptedQuantity: earlier.quantity,
      };
    }
    if (truth.state !== 'active' && truth.state !== 'ended')
      return { itemId, outcome: 'deferred', code: 'fake.resource_not_active', detail: `it is ${truth.state}`, retryAfterMs: 900_000 };
    const now = this.clock.now();
    if (now.getTime() - Date.parse(hour) > DAY) return { itemId, outcome: 'expired', detail: 'more than 24 hours ago' };
    const billed: FakeBilled = {
      externalSubscriptionId: id,
      externalPlanId: plan,
      dimension,
      hour,
      quantity,
      receipt: randomUUID(),
      acceptedAt: now,
    };
    this.accepted.set(item.wireKey, billed);
    return { itemId, outcome: 'accepted', receipt: billed.receipt, acceptedQuantity: quantity, at: now };
  }

  private async around<T>(operation: FakeOperation, subject: string, work: () => T): Promise<T> {
    const index = this.faults.findIndex((one) => one.operation === operation);
    const found = index < 0 ? undefined : this.faults.splice(index, 1)[0];
    if (found?.fault === 'busy') throw new MarketplaceBusy(`${operation}: busy`, found.retryAfterMs);
    if (found?.fault === 'refused') throw new MarketplaceRefusal('fake.refused', `${operation}: refused`);
    if (found?.fault === 'unauthorised')
      throw new MarketplaceRefusal(`${this.marketplace}.unauthorised`, `${operation}: the secret is not taken`, 401);
    if (found?.fault === 'unknown') throw new MarketplaceUnknown(`${operation}: no answer`);
    this.calls.push({ operation, subject });
    const result = work();
    if (found?.fault === 'lost') throw new MarketplaceUnknown(`${operation}: the answer was lost`);
    return result;
  }

  private truthOf(id: string): SubscriptionTruth {
    const truth = this.truths.get(id);
    if (!truth) throw new Error(`no purchase ${id}`);
    return truth;
  }

  private seen(id: string): SubscriptionTruth | null {
    const truth = this.truths.get(id);
    return truth ? structuredClone({ ...truth, observedAt: this.clock.now() }) : null;
  }

  /** An update time, as the real ones have: comparable as text, finer than the clock. */
  private version(): string {
    return this.clock
      .now()
      .toISOString()
      .replace('Z', `${String(++this.sequence).padStart(9, '0')}Z`);
  }
}
