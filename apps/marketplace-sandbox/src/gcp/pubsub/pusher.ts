import { strikeAttempt, type StruckAttempt } from '../../shared/notification-faults.js';
import { postNotification } from '../../shared/post-notification.js';
import type { GcpContext } from '../context.js';
import { pushOf, subscriptionOf } from '../settings.js';
import type { SignUpKeys } from '../sign-up-keys.js';
import type { Broker, Delivery, StoredMessage, Taker } from './broker.js';
import { type PushForgery, pushToken } from './push-token.js';

/** These acknowledge; anything else brings the message again (contract gcp §3, "Pull vs push"). */
const ACKS = new Set([102, 200, 201, 202, 204]);
const AT_ONCE = 10;
const AGAIN_MS = { first: 100, most: 5_000 };
const ONE_SHOT_TIMEOUT_MS = 10_000;

export interface PushAnswer {
  status: number | null;
  body: string;
  error: string | null;
}

/** The push side of Pub/Sub for the publisher's own subscription; on while `pushEndpoint` is set. */
export class Pusher {
  private taker: Taker | undefined;
  private inWork = 0;
  private readonly tries = new Map<string, number>();
  private readonly timers = new Set<NodeJS.Timeout>();

  constructor(
    private readonly context: GcpContext,
    private readonly broker: Broker,
    private readonly keys: () => SignUpKeys,
  ) {}

  /** Follows the settings, which may change while the sandbox runs. */
  align(): void {
    const wanted = pushOf(this.context.settings()).endpoint !== undefined;
    if (wanted === (this.taker !== undefined)) return;
    if (this.taker) {
      this.broker.detach(this.taker);
      this.taker = undefined;
      return;
    }
    const name = subscriptionOf(this.context.settings());
    this.taker = {
      subscription: name,
      // The deadline is the time-out of the HTTP request.
      ackDeadlineSeconds: this.context.settings().ackDeadlineSeconds,
      room: () => (pushOf(this.context.settings()).endpoint === undefined ? 0 : AT_ONCE - this.inWork),
      take: (deliveries) => {
        for (const one of deliveries) void this.deliver(one);
      },
    };
    this.broker.attach(this.taker);
  }

  close(): void {
    if (this.taker) this.broker.detach(this.taker);
    this.taker = undefined;
    for (const timer of this.timers) clearTimeout(timer);
  }

  /** One request with any text and any token; nothing of it is kept. */
  async once(text: string, forge: PushForgery, messageId: string): Promise<PushAnswer> {
    const data = Buffer.from(text).toString('base64');
    return this.post(envelope(data, messageId, Date.now(), {}, subscriptionOf(this.context.settings())), forge, ONE_SHOT_TIMEOUT_MS);
  }

  private async deliver({ ackId, message }: Delivery): Promise<void> {
    const taker = this.taker;
    this.inWork += 1;
    const struck = strikeAttempt(this.context.faults, 'gcp', eventTypeOf(message));
    const answer = await this.post(
      envelopeOf(message),
      struck.token.isExpired ? 'expired' : 'none',
      (taker?.ackDeadlineSeconds ?? 10) * 1000,
      struck,
    );
    this.inWork -= 1;
    if (answer.status !== null && ACKS.has(answer.status)) {
      this.tries.delete(message.id);
      this.broker.ack([ackId]);
      return;
    }
    const tries = (this.tries.get(message.id) ?? 0) + 1;
    this.tries.set(message.id, tries);
    const timer = setTimeout(
      () => {
        this.timers.delete(timer);
        this.broker.modify([ackId], 0);
      },
      Math.min(AGAIN_MS.first * 2 ** (tries - 1), AGAIN_MS.most),
    );
    this.timers.add(timer);
  }

  private async post(body: object, forge: PushForgery, timeoutMs: number, struck?: StruckAttempt): Promise<PushAnswer> {
    const settings = this.context.settings();
    const { endpoint } = pushOf(settings);
    if (endpoint === undefined) return { status: null, body: '', error: 'no pushEndpoint is set' };
    const token = await pushToken(settings, this.keys(), forge, struck?.token.skewMs);
    const headers = { 'content-type': 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
    const { status, body: text, error } = await postNotification(endpoint, headers, JSON.stringify(body), timeoutMs, struck?.way);
    return { status, body: text ?? '', error };
  }
}

/** Faults name a message by its type; one that is not Google's has none. */
function eventTypeOf(message: StoredMessage): string {
  try {
    const { eventType } = JSON.parse(Buffer.from(message.data, 'base64').toString()) as { eventType?: unknown };
    return typeof eventType === 'string' ? eventType : 'unknown';
  } catch {
    return 'unknown';
  }
}

const envelopeOf = (message: StoredMessage): object =>
  envelope(message.data, message.id, message.publishedAtMs, message.attributes, message.subscription);

/** Both spellings, as a real push has them (contract gcp §3). */
function envelope(
  data: string,
  messageId: string,
  publishedAtMs: number,
  attributes: Record<string, string>,
  subscription: string,
): object {
  const publishTime = new Date(publishedAtMs).toISOString();
  return {
    message: { data, messageId, message_id: messageId, publishTime, publish_time: publishTime, attributes },
    subscription,
    deliveryAttempt: 1,
  };
}
