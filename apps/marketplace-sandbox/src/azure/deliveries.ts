import { randomUUID } from 'node:crypto';
import { HOUR, SECOND } from '../shared/clock.js';
import { strikeAttempt, strikeNotification } from '../shared/notification-faults.js';
import type { AzureContext } from './context.js';
import { postWebhook, type WebhookAnswer } from './webhook-client.js';
import { offerOf } from './settings.js';
import type { AzureDelivery, AzureOperation, AzureSubscription } from './types.js';
import type { WebhookTokens } from './webhook-token.js';
import { webhookBody } from './wire.js';

const MAX_ATTEMPTS = 500;
const GIVE_UP_MS = 8 * HOUR;
/** 500 attempts in 8 hours are one in 58 s. */
const LONGEST_PAUSE_MS = 58 * SECOND;
const HOLD_MS = 300 * SECOND;
const KEPT_ATTEMPTS = 20;

/** What an answer means for the operation is decided elsewhere. */
export interface DeliveryOutcomes {
  answered(delivery: AzureDelivery, answer: WebhookAnswer, sentAtMs: number): void;
  gaveUp(delivery: AzureDelivery): void;
}

export function needsAnswer(action: string): boolean {
  return action === 'ChangePlan' || action === 'ChangeQuantity';
}

/** Sends webhooks at least once, in the order of their making unless told otherwise (contract azure §4). */
export class Deliveries {
  private readonly underWay = new Map<string, Promise<void>>();
  /** The last attempt of each subscription: one at a time, so that a later message does not overtake an earlier one. */
  private readonly lanes = new Map<string, Promise<void>>();

  constructor(
    private readonly context: AzureContext,
    private readonly tokens: WebhookTokens,
    private readonly outcomes: DeliveryOutcomes,
  ) {}

  enqueue(operation: AzureOperation, nested: AzureSubscription): void {
    const { state, clock, faults, settings } = this.context;
    const { isLost, isReordered, repeats, delayMs } = strikeNotification(faults, 'azure', operation.action);
    const now = clock.nowMs();
    const id = randomUUID();
    const delivery = state.deliveries.put(id, {
      id,
      subscriptionId: operation.subscriptionId,
      operationId: operation.id,
      action: operation.action,
      offerId: operation.offerId,
      body: webhookBody(operation, nested, settings()),
      state: isLost ? 'lost' : isReordered ? 'held' : 'pending',
      sequence: state.nextSequence('delivery'),
      attempts: [],
      attemptCount: 0,
      createdAt: new Date(now).toISOString(),
      // A held one waits for the next to pass it, and not for ever.
      nextAttemptAt: new Date(now + delayMs + (isReordered ? HOLD_MS : 0)).toISOString(),
      repeats,
    });
    // Somebody on the way took it and told nobody: to the marketplace it is delivered, and the publisher says nothing.
    if (isLost) this.outcomes.answered(delivery, { kind: 'answered', status: 200, body: null, error: null, tookMs: 0 }, now);
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
      .filter((one) => (one.state === 'pending' || one.state === 'held' || one.repeats > 0) && Date.parse(one.nextAttemptAt) <= now)
      .filter((one) => !this.underWay.has(one.id))
      .sort((a, b) => a.sequence - b.sequence);
    for (const one of due) {
      const attempt = (this.lanes.get(one.subscriptionId) ?? Promise.resolve())
        .then(() => this.attempt(one.id))
        .catch((error: unknown) => {
          process.stderr.write(`marketplace-sandbox: webhook ${one.id}: ${(error as Error).message}\n`);
        })
        .finally(() => {
          this.underWay.delete(one.id);
          if (this.lanes.get(one.subscriptionId) === attempt) this.lanes.delete(one.subscriptionId);
        });
      this.lanes.set(one.subscriptionId, attempt);
      this.underWay.set(one.id, attempt);
    }
  }

  private async attempt(id: string): Promise<void> {
    const { state, clock, settings } = this.context;
    const before = state.deliveries.get(id);
    const offer = before && offerOf(settings(), before.offerId);
    if (!before || !offer) return;
    const sentAtMs = clock.nowMs();
    const url = offer.webhookUrl ?? settings().webhookUrl;
    const { way, token } = strikeAttempt(this.context.faults, 'azure', before.action);
    const bearer = await this.tokens.mint(offer, token.isExpired ? 'expired' : 'none', token.skewMs);
    const answer: WebhookAnswer = url
      ? await postWebhook(url, before.body, bearer, settings().answerWindowSeconds * SECOND, {}, way)
      : { kind: 'unreachable', status: null, body: null, error: 'no webhookUrl is set', tookMs: 0 };
    const delivery = state.deliveries.get(id);
    if (!delivery) return;
    this.settle(delivery, answer, sentAtMs);
    this.releaseHeld(delivery);
  }

  private settle(delivery: AzureDelivery, answer: WebhookAnswer, sentAtMs: number): void {
    const { state, clock } = this.context;
    const attempt = {
      at: new Date(sentAtMs).toISOString(),
      status: answer.status,
      answer: answer.body,
      error: answer.error,
      tookMs: answer.tookMs,
    };
    const next: AzureDelivery = {
      ...delivery,
      attempts: [...delivery.attempts, attempt].slice(-KEPT_ATTEMPTS),
      attemptCount: delivery.attemptCount + 1,
    };
    const final = finalState(delivery.action, answer);
    const isRepeat = delivery.state === 'delivered' || delivery.state === 'refused';
    if (isRepeat) {
      state.deliveries.put(delivery.id, { ...next, repeats: delivery.repeats - 1 });
    } else if (final) {
      state.deliveries.put(delivery.id, { ...next, state: final, nextAttemptAt: clock.now().toISOString() });
    } else if (next.attemptCount >= MAX_ATTEMPTS || clock.nowMs() - Date.parse(delivery.createdAt) >= GIVE_UP_MS) {
      state.deliveries.put(delivery.id, { ...next, state: 'failed', repeats: 0 });
      this.outcomes.gaveUp(next);
      return;
    } else {
      const pause = Math.min(LONGEST_PAUSE_MS, SECOND * 2 ** (next.attemptCount - 1));
      state.deliveries.put(delivery.id, { ...next, state: 'pending', nextAttemptAt: new Date(clock.nowMs() + pause).toISOString() });
    }
    this.outcomes.answered(next, answer, sentAtMs);
  }

  private releaseHeld(passed: AzureDelivery): void {
    const { state, clock } = this.context;
    for (const held of state.deliveries.values()) {
      if (held.state !== 'held' || held.id === passed.id || held.offerId !== passed.offerId) continue;
      state.deliveries.put(held.id, { ...held, state: 'pending', nextAttemptAt: clock.now().toISOString() });
    }
  }
}

/** Undefined = to be sent again. A 4xx refuses a change; nobody can refuse a notice, so that is only not delivered. */
function finalState(action: string, answer: WebhookAnswer): 'delivered' | 'refused' | undefined {
  if (answer.status === null) return undefined;
  if (answer.status >= 200 && answer.status < 300) return 'delivered';
  if (answer.status >= 400 && answer.status < 500 && needsAnswer(action)) return 'refused';
  return undefined;
}
