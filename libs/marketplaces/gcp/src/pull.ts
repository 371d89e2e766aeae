import type { Message, PubSub, Subscription } from '@google-cloud/pubsub';
import type { PulledMessage } from '#marketplaces/core';
import { errorText, type Logger } from '#platform';
import { pubSubOf } from './access-token.js';
import { bodyTextOf, naturalKeyOf, notificationOf } from './message.js';
import type { GcpSettings } from './settings.js';

export const SOURCE = 'gcp.pubsub';
/** The header we give a pulled message; a pushed one comes without. */
export const PULLED_ID = 'pubsub-message-id';
const MAX_IN_WORK = 20;
/** A refused message comes back at once; the wait keeps a broken database from being hammered with it. */
const REFUSE_AFTER_MS = 1_000;
const FLUSH_MS = 250;
const REOPEN_MS = { first: 1_000, most: 30_000 };

export type Sink = (message: PulledMessage) => Promise<void>;

export function pulledMessageOf(
  data: Uint8Array,
  transport: { messageId: string; publishedAt: string },
  settings: Pick<GcpSettings, 'projectId' | 'subscription'>,
): PulledMessage {
  const body = bodyTextOf(data);
  const told = notificationOf(body);
  return {
    source: SOURCE,
    naturalKey: naturalKeyOf(told, data),
    headers: { [PULLED_ID]: transport.messageId, 'pubsub-publish-time': transport.publishedAt },
    body,
    principal: `pubsub:projects/${settings.projectId}/subscriptions/${subscriptionName(settings.subscription)}`,
    externalSubscriptionId: told?.about?.kind === 'entitlement' ? told.about.id : null,
  };
}

/** The settings may hold the short or the full name. */
export const subscriptionName = (name: string): string => name.split('/').at(-1) ?? name;

/** Receives notifications until stopped. A message is acknowledged only after the sink has stored it; the client extends leases. */
export class Puller {
  private client: PubSub | null = null;
  private subscription: Subscription | null = null;
  private timer: NodeJS.Timeout | null = null;
  private waitMs: number = REOPEN_MS.first;
  private stopping = false;
  private answeredAtMs = Number.NEGATIVE_INFINITY;
  private readonly running = new Set<Promise<void>>();
  private readonly wakeUps = new Set<() => void>();

  constructor(
    private readonly settings: GcpSettings,
    private readonly sink: Sink,
    private readonly logger?: Logger,
  ) {}

  open(): void {
    this.timer = null;
    if (this.stopping) return;
    this.client ??= pubSubOf(this.settings);
    const subscription = this.client.subscription(subscriptionName(this.settings.subscription), {
      flowControl: { maxMessages: MAX_IN_WORK },
    });
    this.subscription = subscription;
    subscription.on('message', (message: Message) => {
      const work = this.take(message).finally(() => this.running.delete(work));
      this.running.add(work);
    });
    subscription.on('error', (error: unknown) => this.reopen(subscription, error));
  }

  async stop(): Promise<void> {
    this.stopping = true;
    if (this.timer) clearTimeout(this.timer);
    for (const wake of this.wakeUps) wake();
    await Promise.allSettled(this.running);
    // The client's close ends the stream before it sends queued answers; what is answered then may come again.
    if (performance.now() - this.answeredAtMs < FLUSH_MS) await new Promise((resolve) => setTimeout(resolve, FLUSH_MS));
    const { subscription, client } = this;
    this.subscription = null;
    this.client = null;
    subscription?.removeAllListeners();
    subscription?.on('error', (error: unknown) => this.logger?.debug({ err: errorText(error) }, 'pubsub while closing'));
    await subscription?.close();
    await client?.close();
  }

  private async take(message: Message): Promise<void> {
    // Left in the client's hands, which gives it back when it closes; given back now, it would come again at once.
    if (this.stopping) return;
    try {
      await this.sink(
        pulledMessageOf(message.data, { messageId: message.id, publishedAt: message.publishTime.toISOString() }, this.settings),
      );
    } catch (error) {
      this.logger?.error({ messageId: message.id, err: errorText(error) }, 'a pulled message could not be stored; it will come again');
      await this.pause(REFUSE_AFTER_MS);
      message.nack();
      return;
    }
    message.ack();
    this.answeredAtMs = performance.now();
    this.waitMs = REOPEN_MS.first;
  }

  /** The client retries what passes by itself; what it reports (no such subscription, no permission) is tried again by us. */
  private reopen(subscription: Subscription, error: unknown): void {
    if (this.stopping || this.subscription !== subscription) return;
    this.logger?.error({ err: errorText(error), againMs: this.waitMs }, 'pubsub pull failed; trying again');
    this.subscription = null;
    subscription.close().catch((e: unknown) => this.logger?.debug({ err: errorText(e) }, 'pubsub did not close cleanly'));
    this.timer = setTimeout(() => this.open(), this.waitMs);
    this.timer.unref();
    this.waitMs = Math.min(this.waitMs * 2, REOPEN_MS.most);
  }

  private pause(ms: number): Promise<void> {
    if (this.stopping) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.wakeUps.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.wakeUps.add(done);
    });
  }
}
