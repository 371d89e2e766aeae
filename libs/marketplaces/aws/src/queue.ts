import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  type Message,
  ReceiveMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import type { PulledMessage } from '#marketplaces/core';
import { errorText, type Logger } from '#platform';
import type { AwsClients } from './clients.js';
import { envelopeOf } from './envelope.js';
import { queueRegionOf } from './hosts.js';
import { EVENTBRIDGE_SOURCE } from './inbound.js';
import { legacyNotificationOf } from './legacy/notification.js';
import type { AwsSettings } from './settings.js';
import { snsWrappingOf } from './sns/message.js';
import { SNS_SOURCE } from './sns/verify.js';

export type Sink = (message: PulledMessage) => Promise<void>;

const MOST_AT_ONCE = 10;
/** Long polling, in seconds; AWS allows 20. */
const WAIT_SECONDS = 20;
/** A message that could not be stored comes again after this many seconds, not after the whole visibility. */
const AGAIN_SECONDS = 1;
const PAUSE_MS = { first: 1_000, most: 30_000 };
const CALL_MS = 10_000;

/**
 * What a queue's body is: an EventBridge event, or a notification of SNS in its envelope or raw. Its sender needs no signature: the
 * queue's policy lets only the rule and the topics send (contract aws §4.2). Null for what is neither: it stays in the queue.
 */
export function pulledMessageOf(
  message: Pick<Message, 'Body' | 'MessageId'>,
  queueUrl: string,
  settings: AwsSettings,
): PulledMessage | null {
  const body = message.Body ?? '';
  const base = { headers: { 'sqs-message-id': message.MessageId ?? '' }, body, principal: `sqs:${queueUrl}` };
  const wrapping = snsWrappingOf(body);
  const inner = wrapping ? wrapping.message : body;
  const event = envelopeOf(inner);
  if (event)
    return settings.eventSources.includes(event.source)
      ? { ...base, body: inner, source: EVENTBRIDGE_SOURCE, naturalKey: event.id, externalSubscriptionId: event.licenseId }
      : null;
  if (!legacyNotificationOf(inner)) return null;
  // The same MessageId as over HTTPS: a topic with both kinds of subscription is heard once.
  if (wrapping) return { ...base, source: SNS_SOURCE, naturalKey: wrapping.messageId, externalSubscriptionId: null };
  return message.MessageId ? { ...base, source: SNS_SOURCE, naturalKey: `sqs:${message.MessageId}`, externalSubscriptionId: null } : null;
}

/** Polls one queue until stopped. A message is deleted only after the sink has stored it. */
export class QueuePuller {
  private readonly client: SQSClient;
  private readonly stopping = new AbortController();
  private loop: Promise<void> | null = null;

  constructor(
    private readonly queueUrl: string,
    private readonly settings: AwsSettings,
    clients: AwsClients,
    private readonly sink: Sink,
    private readonly logger?: Logger,
  ) {
    this.client = clients.sqs(queueRegionOf(queueUrl));
  }

  start(): this {
    this.loop ??= this.run();
    return this;
  }

  /** Waits for the messages in work; a poll that waits for messages is given up at once. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.loop;
  }

  private async run(): Promise<void> {
    let pauseMs = PAUSE_MS.first;
    while (!this.stopping.signal.aborted) {
      try {
        const answer = await this.client.send(
          new ReceiveMessageCommand({
            QueueUrl: this.queueUrl,
            MaxNumberOfMessages: MOST_AT_ONCE,
            WaitTimeSeconds: WAIT_SECONDS,
            VisibilityTimeout: this.settings.queueVisibilitySeconds,
          }),
          { abortSignal: this.stopping.signal },
        );
        pauseMs = PAUSE_MS.first;
        await Promise.all((answer.Messages ?? []).map((message) => this.take(message)));
      } catch (error) {
        if (this.stopping.signal.aborted) return;
        this.logger?.error({ queue: this.queueUrl, err: errorText(error), againMs: pauseMs }, 'the queue does not answer; trying again');
        await this.pause(pauseMs);
        pauseMs = Math.min(pauseMs * 2, PAUSE_MS.most);
      }
    }
  }

  private async take(message: Message): Promise<void> {
    const { MessageId: messageId, ReceiptHandle } = message;
    const about = { queue: this.queueUrl, messageId };
    const pulled = pulledMessageOf(message, this.queueUrl, this.settings);
    if (!pulled) {
      // Deleting would lose it, and asking again at once would spin: the queue's redrive policy takes it aside.
      this.logger?.warn(about, 'a message of the queue is no event of ours; it is left to the dead-letter queue');
      return;
    }
    const everyMs = (this.settings.queueVisibilitySeconds * 1_000) / 2;
    const heartbeat = setInterval(() => void this.visible(ReceiptHandle, this.settings.queueVisibilitySeconds, about), everyMs);
    try {
      await this.sink(pulled);
    } catch (error) {
      clearInterval(heartbeat);
      this.logger?.error({ ...about, err: errorText(error) }, 'a pulled message could not be stored; it will come again');
      await this.visible(ReceiptHandle, AGAIN_SECONDS, about);
      return;
    }
    clearInterval(heartbeat);
    try {
      await this.client.send(new DeleteMessageCommand({ QueueUrl: this.queueUrl, ReceiptHandle }), {
        abortSignal: AbortSignal.timeout(CALL_MS),
      });
    } catch (error) {
      this.logger?.warn(
        { ...about, err: errorText(error) },
        'a stored message could not be deleted; it comes again and is known by its key',
      );
    }
  }

  private async visible(ReceiptHandle: string | undefined, VisibilityTimeout: number, about: object): Promise<void> {
    await this.client
      .send(new ChangeMessageVisibilityCommand({ QueueUrl: this.queueUrl, ReceiptHandle, VisibilityTimeout }), {
        abortSignal: AbortSignal.timeout(CALL_MS),
      })
      .catch((error: unknown) => this.logger?.warn({ ...about, err: errorText(error) }, 'the visibility of a message could not be set'));
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.stopping.signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.stopping.signal.addEventListener('abort', done);
    });
  }
}
