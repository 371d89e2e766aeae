import { randomUUID } from 'node:crypto';
import type { Store, Table } from '../../shared/store.js';

export interface StoredTopic {
  name: string;
}

export interface StoredSubscription {
  name: string;
  topic: string;
  ackDeadlineSeconds: number;
}

export interface StoredMessage {
  id: string;
  sequence: number;
  subscription: string;
  /** base64 */
  data: string;
  attributes: Record<string, string>;
  orderingKey: string;
  publishedAtMs: number;
}

export interface Delivery {
  ackId: string;
  message: StoredMessage;
}

interface Lease {
  key: string;
  untilMs: number;
  holder: object;
}

/** A consumer of a stream; answers false when it takes no more now. */
export interface Taker {
  readonly subscription: string;
  ackDeadlineSeconds: number;
  room(): number;
  take(deliveries: Delivery[]): void;
}

const MAX_PER_TURN = 100;

/** At-least-once, unordered. Unacked messages are durable; leases are not: after a restart all are delivered again. */
export class Broker {
  readonly topics: Table<StoredTopic>;
  readonly subscriptions: Table<StoredSubscription>;
  private readonly messages: Table<StoredMessage>;
  private readonly counters: Table<number>;
  private readonly leases = new Map<string, Lease>();
  /** Every ack id of a message that is not acked yet, of lapsed leases, too. */
  private readonly issued = new Map<string, string>();
  private readonly leasedKeys = new Map<string, string>();
  /** Delivered before by this process: a settling clock waits for first deliveries only. */
  private readonly seen = new Set<string>();
  private readonly firstLease = new Set<string>();
  private readonly takers = new Set<Taker>();
  private turn = 0;

  constructor(store: Store) {
    this.topics = store.table('gcp.pubsubTopics');
    this.subscriptions = store.table('gcp.pubsubSubscriptions');
    this.messages = store.table('gcp.pubsubMessages');
    this.counters = store.table('gcp.pubsubCounters');
  }

  publish(topic: string, data: string, attributes: Record<string, string> = {}, orderingKey = ''): string {
    const sequence = this.counters.put('message', (this.counters.get('message') ?? 0) + 1);
    const id = String(1_000_000_000_000 + sequence);
    for (const subscription of this.subscriptions.values()) {
      if (subscription.topic !== topic) continue;
      this.messages.put(`${subscription.name}|${id}`, {
        id,
        sequence,
        subscription: subscription.name,
        data,
        attributes,
        orderingKey,
        publishedAtMs: Date.now(),
      });
    }
    setImmediate(() => this.dispatch());
    return id;
  }

  /** Unacked messages of a subscription. */
  backlog(subscription: string): number {
    return this.messages.values().filter((one) => one.subscription === subscription).length;
  }

  dropSubscription(name: string): void {
    for (const [key, message] of this.messages.entries()) if (message.subscription === name) this.messages.delete(key);
    this.subscriptions.delete(name);
  }

  pull(subscription: StoredSubscription, most: number): Delivery[] {
    this.expire();
    return this.lease(subscription.name, most, subscription.ackDeadlineSeconds, {});
  }

  /** A late ack counts, too: a closing client ends its stream first and flushes its acks after that. */
  ack(ackIds: readonly string[]): void {
    for (const ackId of ackIds) {
      const key = this.issued.get(ackId);
      if (key === undefined) continue;
      const current = this.leasedKeys.get(key);
      if (current) this.release(current);
      this.messages.delete(key);
      this.seen.delete(key);
      for (const [other, otherKey] of this.issued) if (otherKey === key) this.issued.delete(other);
    }
  }

  /** Zero gives the message back at once. */
  modify(ackIds: readonly string[], seconds: number): void {
    for (const ackId of ackIds) {
      const lease = this.leases.get(ackId);
      if (!lease) continue;
      if (seconds === 0) this.release(ackId);
      else lease.untilMs = Date.now() + seconds * 1000;
    }
    if (seconds === 0) setImmediate(() => this.dispatch());
  }

  attach(taker: Taker): void {
    this.takers.add(taker);
    setImmediate(() => this.dispatch());
  }

  /** What a closed stream held is given to the others. */
  detach(taker: Taker): void {
    if (!this.takers.delete(taker)) return;
    for (const [ackId, lease] of this.leases) if (lease.holder === taker) this.release(ackId);
    setImmediate(() => this.dispatch());
  }

  /** True while a connected consumer has not yet answered a message it gets for the first time. */
  get busy(): boolean {
    const connected = new Set([...this.takers].map((taker) => taker.subscription));
    return this.messages
      .entries()
      .some(
        ([key, message]) =>
          connected.has(message.subscription) && (!this.seen.has(key) || (this.leasedKeys.has(key) && this.firstLease.has(key))),
      );
  }

  isLeased(ackId: string): boolean {
    return this.leases.has(ackId);
  }

  dispatch(): void {
    this.expire();
    const takers = [...this.takers];
    for (let index = 0; index < takers.length; index += 1) {
      // The streams of a client share the messages: each turn begins with the next one.
      const taker = takers[(index + this.turn) % takers.length];
      if (!taker) continue;
      const sharing = takers.filter((one) => one.subscription === taker.subscription).length;
      const waiting = this.waiting(taker.subscription).length;
      const share = Math.min(taker.room(), Math.ceil(waiting / sharing), MAX_PER_TURN);
      if (share <= 0) continue;
      const deliveries = this.lease(taker.subscription, share, taker.ackDeadlineSeconds, taker);
      if (deliveries.length) taker.take(deliveries);
    }
    this.turn += 1;
    if (takers.some((taker) => taker.room() > 0 && this.waiting(taker.subscription).length > 0)) setImmediate(() => this.dispatch());
  }

  private waiting(subscription: string): [string, StoredMessage][] {
    return this.messages.entries().filter(([key, message]) => message.subscription === subscription && !this.leasedKeys.has(key));
  }

  private lease(subscription: string, most: number, seconds: number, holder: object): Delivery[] {
    return this.waiting(subscription)
      .slice(0, most)
      .map(([key, message]) => {
        const ackId = randomUUID();
        this.leases.set(ackId, { key, untilMs: Date.now() + seconds * 1000, holder });
        this.issued.set(ackId, key);
        this.leasedKeys.set(key, ackId);
        if (!this.seen.has(key)) this.firstLease.add(key);
        this.seen.add(key);
        return { ackId, message };
      });
  }

  private release(ackId: string): Lease | undefined {
    const lease = this.leases.get(ackId);
    if (!lease) return undefined;
    this.leases.delete(ackId);
    this.leasedKeys.delete(lease.key);
    this.firstLease.delete(lease.key);
    return lease;
  }

  /** Deadlines run in real time. */
  private expire(): void {
    const now = Date.now();
    for (const [ackId, lease] of this.leases) if (lease.untilMs <= now) this.release(ackId);
  }
}
