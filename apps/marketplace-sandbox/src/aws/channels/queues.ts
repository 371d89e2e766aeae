import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { AwsContext } from '../context.js';
import { AwsError } from '../errors.js';
import type { AwsSettings } from '../settings.js';
import type { Operation } from '../service-scope.js';
import type { QueueMessage } from '../types.js';

const LOOK_MS = 20;
const LONGEST_WAIT_SECONDS = 20;
const MOST = 10;

/** SQS as far as its readers see it. All its times are real: leases are no business time. */
export class Queues {
  constructor(
    private readonly context: AwsContext,
    private readonly baseUrl: () => string,
  ) {}

  urlOf(name: string): string {
    return `${this.baseUrl()}/aws/sqs/${this.context.settings().sellerAccountId}/${name}`;
  }

  put(queue: string, body: string): string {
    const id = randomUUID();
    const { state } = this.context;
    state.queues.put(id, { id, queue, body, sequence: state.nextSequence('queue'), visibleAtMs: 0, receives: 0, receipt: null });
    return id;
  }

  list(): QueueMessage[] {
    return this.context.state.queues.values().sort((a, b) => a.sequence - b.sequence);
  }

  /** What the real SDK calls, in AWS JSON 1.0. */
  operations(): Record<string, Operation> {
    return {
      ReceiveMessage: (input, _caller, request) => this.receive(input, () => request.raw.socket.destroyed),
      DeleteMessage: (input) => {
        const found = this.byReceipt(input);
        // An old receipt deletes nothing once the message was handed out again.
        if (found) this.context.state.queues.delete(found.id);
        return {};
      },
      ChangeMessageVisibility: (input) => {
        const seconds = number(input, 'VisibilityTimeout', 0, 43_200);
        const found = this.byReceipt(input);
        if (!found || found.visibleAtMs <= Date.now()) throw new AwsError('MessageNotInflight', 'The message is not in flight.');
        this.context.state.queues.put(found.id, { ...found, visibleAtMs: Date.now() + seconds * 1_000 });
        return {};
      },
      GetQueueAttributes: (input) => this.attributes(this.queueOf(input)),
    };
  }

  private attributes(queue: AwsSettings['queues'][number]): object {
    const own = this.list().filter((one) => one.queue === queue.name);
    const now = Date.now();
    const { sellerAccountId, region } = this.context.settings();
    const arn = (name: string): string => `arn:aws:sqs:${region}:${sellerAccountId}:${name}`;
    return {
      Attributes: {
        QueueArn: arn(queue.name),
        VisibilityTimeout: String(queue.visibilitySeconds),
        ApproximateNumberOfMessages: String(own.filter((one) => one.visibleAtMs <= now).length),
        ApproximateNumberOfMessagesNotVisible: String(own.filter((one) => one.visibleAtMs > now).length),
        ...(queue.maxReceives === null
          ? {}
          : {
              RedrivePolicy: JSON.stringify({ deadLetterTargetArn: arn(`${queue.name}-dlq`), maxReceiveCount: queue.maxReceives }),
            }),
      },
    };
  }

  private async receive(input: Record<string, unknown>, isGone: () => boolean): Promise<object> {
    const queue = this.queueOf(input);
    const most = number(input, 'MaxNumberOfMessages', 1, MOST, 1);
    const waitMs = number(input, 'WaitTimeSeconds', 0, LONGEST_WAIT_SECONDS, 0) * 1_000;
    const leaseMs = number(input, 'VisibilityTimeout', 0, 43_200, queue.visibilitySeconds) * 1_000;
    for (const end = Date.now() + waitMs; ;) {
      // A caller that hung up must not be handed a message that then hides from everybody else.
      const taken = isGone() ? [] : this.take(queue, most, leaseMs);
      if (taken.length > 0) return { Messages: taken };
      if (isGone() || Date.now() >= end) return {};
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  private take(queue: AwsSettings['queues'][number], most: number, leaseMs: number): object[] {
    const { state } = this.context;
    const now = Date.now();
    const taken: object[] = [];
    for (const one of this.list()) {
      if (one.queue !== queue.name || one.visibleAtMs > now) continue;
      if (queue.maxReceives !== null && one.receives >= queue.maxReceives) {
        state.queues.put(one.id, { ...one, queue: `${queue.name}-dlq`, receipt: null });
        continue;
      }
      if (taken.length === most) break;
      const receipt = randomBytes(60).toString('base64');
      state.queues.put(one.id, { ...one, visibleAtMs: now + leaseMs, receives: one.receives + 1, receipt });
      taken.push({
        MessageId: one.id,
        ReceiptHandle: receipt,
        // The SDK compares it.
        MD5OfBody: createHash('md5').update(one.body).digest('hex'),
        Body: one.body,
      });
    }
    return taken;
  }

  private byReceipt(input: Record<string, unknown>): QueueMessage | undefined {
    const queue = this.queueOf(input);
    const receipt = input['ReceiptHandle'];
    if (typeof receipt !== 'string' || receipt === '') throw new AwsError('ReceiptHandleIsInvalid', 'The receipt handle is not valid.');
    return this.list().find((one) => one.queue === queue.name && one.receipt === receipt);
  }

  private queueOf(input: Record<string, unknown>): AwsSettings['queues'][number] {
    const url = input['QueueUrl'];
    const name = typeof url === 'string' ? url.split('/').pop() : undefined;
    const queue = this.context.settings().queues.find((one) => one.name === name && this.urlOf(one.name) === url);
    if (!queue) throw new AwsError('QueueDoesNotExist', 'The specified queue does not exist.');
    return queue;
  }
}

function number(input: Record<string, unknown>, name: string, least: number, most: number, otherwise?: number): number {
  const value = input[name] ?? otherwise;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most)
    throw new AwsError('InvalidParameterValue', `Value ${String(value)} for parameter ${name} is invalid.`);
  return value;
}
