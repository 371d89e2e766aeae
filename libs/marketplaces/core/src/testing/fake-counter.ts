import { randomUUID } from 'node:crypto';
import type { Clock } from '#platform';
import type { InboundRequest, Marketplace, MarketplaceState, StoredInbound, SubscriptionTruth, UsageTraits } from '../index.js';
import { FakeBuyerChanges } from './fake-buyer-changes.js';
import { FakeLine } from './fake-line.js';
import { FakePublisherChanges } from './fake-publisher-changes.js';
import { FakeUsage } from './fake-usage.js';
import { type FakeBilled, type FakePurchaseInput, TRAITS } from './fake-words.js';
import { KIND_OF, type Message, SECRET } from './fake-message.js';

const DAY = 86_400_000;

/** The other side of the counter: what a test does there, and what it looks at. */
export class FakeCounter {
  readonly marketplace: Marketplace;
  readonly usage: UsageTraits;
  /** Every call of the port that reached the other side, in order. */
  readonly calls: FakeLine['calls'];
  protected readonly line: FakeLine;
  protected readonly book: FakeUsage;
  protected readonly buyerChanges = new FakeBuyerChanges((id, change) => this.patch(id, change));
  readonly changes = this.buyerChanges.all;
  readonly publisherChanges = new FakePublisherChanges(
    (id) => this.seen(id),
    (id, change) => this.patch(id, change),
  );
  protected readonly truths = new Map<string, SubscriptionTruth>();
  protected readonly tokens = new Map<string, string>();
  protected readonly told = new Map<string, InboundRequest>();
  protected readonly listed = new Map<string, SubscriptionTruth | null>();
  protected readonly waiting = new Set<string>();
  private sequence = 0;

  constructor(
    protected readonly clock: Clock,
    options: { marketplace?: Marketplace; usage?: Partial<UsageTraits> } = {},
  ) {
    this.marketplace = options.marketplace ?? 'azure';
    this.usage = { ...TRAITS, ...options.usage };
    this.line = new FakeLine(this.marketplace);
    this.calls = this.line.calls;
    this.book = new FakeUsage(clock, this.usage, (id) => this.truths.get(id));
  }

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
    const changeId = this.buyerChanges.request(this.truthOf(id), to);
    const message = this.message(id, 'change', changeId);
    this.told.set(changeId, message);
    return { changeId, message };
  }

  /** What silence does on Azure. */
  settleChange(changeId: string, accept: boolean): void {
    this.buyerChanges.settle(changeId, accept);
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

  takeBack(wireKey: string): void {
    this.book.takeBack(wireKey);
  }

  billed(externalSubscriptionId?: string): FakeBilled[] {
    return this.book.billed(externalSubscriptionId);
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

  failNext(...wish: Parameters<FakeLine['failNext']>): void {
    this.line.failNext(...wish);
  }

  protected get source(): string {
    return `${this.marketplace}.fake`;
  }

  private truthOf(id: string): SubscriptionTruth {
    const truth = this.truths.get(id);
    if (!truth) throw new Error(`no purchase ${id}`);
    return truth;
  }

  protected seen(id: string): SubscriptionTruth | null {
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
