import { SECOND } from '../shared/clock.js';
import { strikeNotification } from '../shared/notification-faults.js';
import type { GcpContext } from './context.js';
import type { Broker } from './pubsub/broker.js';
import { subscriptionOf, topicOf } from './settings.js';
import type { GcpAccount, GcpEntitlement, GcpNotification } from './types.js';

const REORDER_WITHIN_MS = 300 * SECOND;

export interface NotifyOptions {
  eventId?: string;
  extras?: Record<string, string>;
  delaySeconds?: number;
}

/** Makes the messages of contract gcp §3 and publishes them, in the order of their making unless told otherwise. */
export class Notifications {
  constructor(
    private readonly context: GcpContext,
    private readonly broker: Broker,
  ) {}

  account(
    account: GcpAccount,
    eventType: 'ACCOUNT_CREATION_REQUESTED' | 'ACCOUNT_ACTIVE' | 'ACCOUNT_DELETED',
    entitlementId: string | null,
    options: NotifyOptions = {},
  ): void {
    const settings = this.context.settings();
    const typed = settings.accountEventType ? { eventType } : {};
    const eventId = options.eventId ?? eventIdOf(eventType, account.id, account.updateTime);
    this.enqueue(
      eventType,
      account.id,
      entitlementId,
      { eventId, ...typed, providerId: settings.providerId, account: { id: account.id, updateTime: account.updateTime } },
      options,
    );
  }

  entitlement(entitlement: GcpEntitlement, eventType: string, options: NotifyOptions = {}): void {
    const eventId = options.eventId ?? eventIdOf(eventType, entitlement.id, entitlement.updateTime);
    const body = {
      eventId,
      eventType,
      providerId: this.context.settings().providerId,
      entitlement: { id: entitlement.id, updateTime: entitlement.updateTime, ...options.extras },
    };
    this.enqueue(eventType, entitlement.accountId, entitlement.id, body, options);
  }

  /** Lets go of what is held or late for an entitlement; answers how many. */
  release(entitlementId: string): number {
    const waiting = this.context.state.notificationsOf(entitlementId).filter((one) => one.state !== 'published' && one.state !== 'lost');
    for (const one of waiting) this.publish(one);
    return waiting.length;
  }

  /** Anything, as it is, on Google's topic; answers the message's id. */
  publishAny(data: Buffer): string {
    return this.broker.publish(topicOf(this.context.settings()), data.toString('base64'));
  }

  /** Messages that the publisher's subscription has not acknowledged. */
  get unacknowledged(): number {
    return this.broker.backlog(subscriptionOf(this.context.settings()));
  }

  /** Publishes what is due. */
  runDue(): boolean {
    const now = this.context.clock.nowMs();
    const due = this.context.state.notifications
      .values()
      .filter((one) => (one.state === 'pending' || one.state === 'reordered') && Date.parse(one.publishAt) <= now)
      .sort((a, b) => a.sequence - b.sequence);
    for (const one of due) this.publish(one);
    return due.length > 0;
  }

  private enqueue(eventType: string, accountId: string, entitlementId: string | null, body: object, options: NotifyOptions): void {
    const { state, clock, faults } = this.context;
    const { isLost, isReordered, repeats, delayMs } = strikeNotification(faults, 'gcp', eventType);
    const hold = isLost ? undefined : faults.take('gcp', eventType, ['hold_event']);
    // Held without a time waits for .../notify.
    const isHeld = hold !== undefined && hold.delayMs === undefined;
    const delay = (isReordered ? REORDER_WITHIN_MS : (hold?.delayMs ?? (options.delaySeconds ?? 0) * SECOND)) + delayMs;
    const sequence = state.next('notification');
    const one: GcpNotification = {
      sequence,
      entitlementId,
      accountId,
      eventType,
      body: JSON.stringify(body),
      state: isLost ? 'lost' : isHeld ? 'held' : isReordered ? 'reordered' : 'pending',
      publishAt: new Date(clock.nowMs() + delay).toISOString(),
      copies: 1 + repeats,
      messageIds: [],
    };
    state.notifications.put(String(sequence), one);
    if (one.state === 'pending' && delay === 0) this.publish(one);
  }

  private publish(one: GcpNotification): void {
    const { state } = this.context;
    if (state.notifications.get(String(one.sequence))?.state === 'published') return;
    const data = Buffer.from(one.body).toString('base64');
    const topic = topicOf(this.context.settings());
    const messageIds = Array.from({ length: one.copies }, () => this.broker.publish(topic, data));
    state.notifications.put(String(one.sequence), { ...one, state: 'published', messageIds });
    // A reordered one goes out right after the next.
    if (one.state === 'reordered') return;
    for (const late of state.notifications.values()) if (late.state === 'reordered' && late.sequence < one.sequence) this.publish(late);
  }
}

/** Type-prefixed, as in a real message (contract gcp §3). */
function eventIdOf(eventType: string, id: string, updateTime: string): string {
  return `${eventType}-${id}-${updateTime.replace(/\D/g, '').slice(-10)}`;
}
