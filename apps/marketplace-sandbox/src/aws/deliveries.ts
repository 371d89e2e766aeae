import { DAY, SECOND } from '../shared/clock.js';
import { strikeAttempt, strikeNotification } from '../shared/notification-faults.js';
import type { BrokenWay } from '../shared/post-notification.js';
import type { AwsContext } from './context.js';
import { envelope } from './events.js';
import { postEvent, postSns, type TargetAnswer } from './target-client.js';
import type { AwsDelivery, TopicSubscription } from './types.js';

const MAX_ATTEMPTS = 185;
const GIVE_UP_MS = DAY;
/** 185 attempts in 24 hours. */
const LONGEST_PAUSE_MS = 480 * SECOND;
const HOLD_MS = 300 * SECOND;
const KEPT_ATTEMPTS = 20;
/** What an API destination sends again; any other answer that is not a success drops the event. */
const SENT_AGAIN = new Set([401, 407, 409, 429]);

/** EventBridge: at least once at best, no promise of order, 24 h of retries and then gone (contract aws §4.3). */
export class Deliveries {
  private readonly underWay = new Map<string, Promise<void>>();
  /** Per agreement one at a time: only a fault or a retry mixes the order up, so that a run can be repeated. */
  private readonly lanes = new Map<string, Promise<void>>();

  private toQueue: (queue: string, body: string) => void = () => {};

  constructor(private readonly context: AwsContext) {}

  useQueues(toQueue: (queue: string, body: string) => void): void {
    this.toQueue = toQueue;
  }

  /** A message of a topic to one who is subscribed, with the same retries. */
  enqueueTopic(subscription: TopicSubscription, type: string, messageId: string, body: string): void {
    this.put({
      id: `${subscription.arn}/${messageId}`,
      agreementId: subscription.arn,
      name: type,
      detailType: type,
      body,
      atMs: this.context.clock.nowMs(),
      subscriptionArn: subscription.arn,
    });
  }

  /** `eventName` is the detail-type without the role. `atMs` may lie ahead: the event happens then. */
  enqueue(
    agreementId: string,
    eventName: string,
    role: 'Proposer' | 'Manufacturer',
    detail: object,
    atMs: number = this.context.clock.nowMs(),
  ): void {
    const detailType = `${eventName} - ${role}`;
    const event = envelope(this.context.settings(), detailType, new Date(atMs).toISOString(), agreementId, detail);
    this.put({ id: event.id, agreementId, name: eventName, detailType, body: JSON.stringify(event), atMs });
  }

  private put(
    made: Pick<AwsDelivery, 'id' | 'agreementId' | 'detailType' | 'body' | 'subscriptionArn'> & { name: string; atMs: number },
  ): void {
    const { state, faults } = this.context;
    const { name, atMs, ...delivery } = made;
    const { isLost, isReordered, repeats, delayMs } = strikeNotification(faults, 'aws', name);
    state.deliveries.put(delivery.id, {
      ...delivery,
      state: isLost ? 'lost' : isReordered ? 'held' : 'pending',
      sequence: state.nextSequence('delivery'),
      attempts: [],
      attemptCount: 0,
      dueAt: new Date(atMs).toISOString(),
      // A held one waits for the next to pass it, and not for ever.
      nextAttemptAt: new Date(atMs + delayMs + (isReordered ? HOLD_MS : 0)).toISOString(),
      repeats,
    });
  }

  /** Starts what is due; answers with whether anything was, or still is, under way. Waits for all of it. */
  async runDue(): Promise<boolean> {
    this.start();
    if (this.underWay.size === 0) return false;
    await Promise.all(this.underWay.values());
    return true;
  }

  start(): void {
    const now = this.context.clock.nowMs();
    const due = this.context.state.deliveries
      .values()
      .filter((one) => one.state === 'pending' || one.state === 'held' || (one.state === 'delivered' && one.repeats > 0))
      .filter((one) => Date.parse(one.nextAttemptAt) <= now && !this.underWay.has(one.id))
      .sort((a, b) => Date.parse(a.nextAttemptAt) - Date.parse(b.nextAttemptAt) || a.sequence - b.sequence);
    for (const one of due) {
      const attempt = (this.lanes.get(one.agreementId) ?? Promise.resolve())
        .then(() => this.attempt(one.id))
        .catch((error: unknown) => {
          process.stderr.write(`marketplace-sandbox: event ${one.id}: ${(error as Error).message}\n`);
        })
        .finally(() => {
          this.underWay.delete(one.id);
          if (this.lanes.get(one.agreementId) === attempt) this.lanes.delete(one.agreementId);
        });
      this.lanes.set(one.agreementId, attempt);
      this.underWay.set(one.id, attempt);
    }
  }

  private async attempt(id: string): Promise<void> {
    const { state, clock } = this.context;
    const before = state.deliveries.get(id);
    if (!before) return;
    const sentAtMs = clock.nowMs();
    const answer = await this.send(before);
    const delivery = state.deliveries.get(id);
    if (!delivery) return;
    this.settle(delivery, answer, sentAtMs);
    this.releaseHeld(delivery);
  }

  private send({ body, subscriptionArn, detailType }: AwsDelivery): Promise<TargetAnswer> {
    const { webhookUrl, webhookSecret, targetTimeoutSeconds, eventTarget, eventQueue } = this.context.settings();
    const windowMs = targetTimeoutSeconds * SECOND;
    const queued = (queue: string): Promise<TargetAnswer> => {
      this.toQueue(queue, body);
      return Promise.resolve({ status: 200, body: `queue ${queue}`, error: null, tookMs: 0 });
    };
    // Of what goes over HTTP only: what is put into a queue is whole. The role is no part of the name.
    const way = (): BrokenWay | undefined =>
      strikeAttempt(this.context.faults, 'aws', detailType.replace(/ - (Proposer|Manufacturer)$/, '')).way;
    if (subscriptionArn === undefined)
      return eventTarget === 'sqs' ? queued(eventQueue) : postEvent(webhookUrl, body, webhookSecret, windowMs, way());
    const to = this.context.state.subscriptions.get(subscriptionArn);
    if (!to) return Promise.resolve({ status: 410, body: null, error: 'no longer subscribed', tookMs: 0 });
    if (to.protocol === 'sqs') return queued(to.endpoint);
    return postSns(to.endpoint, body, JSON.parse(body) as Record<string, string>, windowMs, way());
  }

  private settle(delivery: AwsDelivery, answer: TargetAnswer, sentAtMs: number): void {
    const { state, clock } = this.context;
    const attempt = {
      at: new Date(sentAtMs).toISOString(),
      status: answer.status,
      answer: answer.body,
      error: answer.error,
      tookMs: answer.tookMs,
    };
    const attemptCount = delivery.attemptCount + 1;
    const next: AwsDelivery = { ...delivery, attempts: [...delivery.attempts, attempt].slice(-KEPT_ATTEMPTS), attemptCount };
    const nowMs = clock.nowMs();
    if (delivery.state === 'delivered') {
      state.deliveries.put(delivery.id, { ...next, repeats: delivery.repeats - 1 });
    } else if (answer.status !== null && answer.status >= 200 && answer.status < 300) {
      state.deliveries.put(delivery.id, { ...next, state: 'delivered', nextAttemptAt: new Date(nowMs).toISOString() });
    } else if (!isSentAgain(answer.status) || attemptCount >= MAX_ATTEMPTS || nowMs - Date.parse(delivery.dueAt) >= GIVE_UP_MS) {
      state.deliveries.put(delivery.id, { ...next, state: 'dropped', repeats: 0 });
    } else {
      const pause = Math.min(LONGEST_PAUSE_MS, SECOND * 2 ** (attemptCount - 1));
      state.deliveries.put(delivery.id, { ...next, state: 'pending', nextAttemptAt: new Date(nowMs + pause).toISOString() });
    }
  }

  private releaseHeld(passed: AwsDelivery): void {
    const { state, clock } = this.context;
    for (const held of state.deliveries.values()) {
      if (held.state !== 'held' || held.id === passed.id) continue;
      state.deliveries.put(held.id, { ...held, state: 'pending', nextAttemptAt: clock.now().toISOString() });
    }
  }
}

function isSentAgain(status: number | null): boolean {
  return status === null || status >= 500 || SENT_AGAIN.has(status);
}
