import { type handleUnaryCall, Server, ServerCredentials, type ServerDuplexStream, type ServiceError, status } from '@grpc/grpc-js';
import type { Store } from '../../shared/store.js';
import { type GcpSettings, pushOf, subscriptionOf } from '../settings.js';
import type { Broker, Delivery, StoredMessage, StoredSubscription, Taker } from './broker.js';
import { pubsubServices } from './protos.js';

type Fields = Record<string, unknown>;

const DEFAULT_DEADLINE = 10;
const NAME = /^projects\/[a-z][a-z0-9-:.]{2,}\/(topics|subscriptions)\/([A-Za-z][A-Za-z0-9\-_.~+%]{2,254})$/;
const SWEEP_MS = 100;

class PubsubError extends Error {
  constructor(
    readonly code: status,
    message: string,
  ) {
    super(message);
  }
}

/** The part of Pub/Sub that clients of the notifications use, over gRPC on loopback (contract gcp §6). */
export class PubsubServer {
  private server: Server | undefined;
  private sweep: NodeJS.Timeout | undefined;

  constructor(
    private readonly broker: Broker,
    private readonly store: Store,
    private readonly host: string,
    private readonly settings: () => GcpSettings,
  ) {}

  /** With port 0 the port of the last run is kept if it is still free. */
  async listen(port: number): Promise<string> {
    const ports = this.store.table<number>('gcp.pubsubPort');
    const server = new Server({ 'grpc.max_receive_message_length': 20 * 1024 * 1024 });
    const { publisher, subscriber } = pubsubServices();
    server.addService(publisher, this.publisher());
    server.addService(subscriber, { ...this.subscriber(), StreamingPull: (call: ServerDuplexStream<Fields, Fields>) => this.stream(call) });
    this.server = server;
    const before = port === 0 ? ports.get('port') : undefined;
    const bound = await bind(server, this.host, before ?? port).catch((error: Error) => {
      if (before === undefined)
        throw Object.assign(error, { message: `the Pub/Sub port ${port} cannot be used; set SANDBOX_PUBSUB_PORT (0 takes a free one)` });
      return bind(server, this.host, 0);
    });
    ports.put('port', bound);
    this.sweep = setInterval(() => this.broker.dispatch(), SWEEP_MS);
    return `${this.host}:${bound}`;
  }

  /** Graceful shutdown would wait for open streams for ever (contract gcp §6, pitfall 8). */
  close(): void {
    clearInterval(this.sweep);
    this.server?.forceShutdown();
  }

  private publisher(): Record<string, handleUnaryCall<Fields, Fields>> {
    const { broker } = this;
    return {
      CreateTopic: unary((request) => {
        const name = checkedName(request['name'], 'topics');
        if (broker.topics.has(name)) throw new PubsubError(status.ALREADY_EXISTS, `Topic already exists (resource=${short(name)}).`);
        return { ...broker.topics.put(name, { name }) };
      }),
      GetTopic: unary((request) => ({ ...this.topic(request['topic']) })),
      ListTopics: unary((request) => ({
        topics: broker.topics.values().filter((one) => one.name.startsWith(`${String(request['project'])}/`)),
      })),
      ListTopicSubscriptions: unary((request) => ({
        subscriptions: broker.subscriptions
          .values()
          .filter((one) => one.topic === request['topic'])
          .map((one) => one.name),
      })),
      DeleteTopic: unary((request) => {
        broker.topics.delete(this.topic(request['topic']).name);
        return {};
      }),
      Publish: unary((request) => {
        const topic = this.topic(request['topic']);
        const messages = request['messages'] as { data: Buffer; attributes: Record<string, string>; ordering_key: string }[];
        if (!messages.length) throw new PubsubError(status.INVALID_ARGUMENT, 'The value for message_count is too small.');
        return {
          message_ids: messages.map((one) =>
            broker.publish(topic.name, Buffer.from(one.data).toString('base64'), one.attributes, one.ordering_key),
          ),
        };
      }),
    };
  }

  private subscriber(): Record<string, handleUnaryCall<Fields, Fields>> {
    const { broker } = this;
    return {
      CreateSubscription: unary((request) => {
        const name = checkedName(request['name'], 'subscriptions');
        const topic = this.topic(request['topic']).name;
        if (broker.subscriptions.has(name))
          throw new PubsubError(status.ALREADY_EXISTS, `Subscription already exists (resource=${short(name)}).`);
        const seconds = Number(request['ack_deadline_seconds']) || DEFAULT_DEADLINE;
        if (seconds < 10 || seconds > 600)
          throw new PubsubError(status.INVALID_ARGUMENT, 'Invalid ack deadline given: it must be between 10 and 600 seconds.');
        return this.wire(broker.subscriptions.put(name, { name, topic, ackDeadlineSeconds: seconds }));
      }),
      GetSubscription: unary((request) => this.wire(this.subscription(request['subscription']))),
      ListSubscriptions: unary((request) => ({
        subscriptions: broker.subscriptions
          .values()
          .filter((one) => one.name.startsWith(`${String(request['project'])}/`))
          .map((one) => this.wire(one)),
      })),
      DeleteSubscription: unary((request) => {
        broker.dropSubscription(this.subscription(request['subscription']).name);
        return {};
      }),
      Pull: unary((request) => {
        const most = Number(request['max_messages']);
        if (!(most > 0)) throw new PubsubError(status.INVALID_ARGUMENT, 'max_messages must be positive.');
        return { received_messages: broker.pull(this.subscription(request['subscription']), Math.min(most, 1000)).map(messageWire) };
      }),
      Acknowledge: unary((request) => {
        this.subscription(request['subscription']);
        broker.ack(request['ack_ids'] as string[]);
        return {};
      }),
      ModifyAckDeadline: unary((request) => {
        this.subscription(request['subscription']);
        broker.modify(request['ack_ids'] as string[], deadline(request['ack_deadline_seconds']));
        return {};
      }),
    };
  }

  private stream(call: ServerDuplexStream<Fields, Fields>): void {
    const { broker } = this;
    let taker: (Taker & { held: Set<string> }) | undefined;
    const end = (): void => {
      if (taker) broker.detach(taker);
      taker = undefined;
    };
    const fail = (error: unknown): void => {
      end();
      call.emit('error', asServiceError(error));
    };
    call.on('data', (request: Fields) => {
      try {
        if (!taker) taker = this.openStream(call, request);
        // Later requests are keep-alives, or answers of clients that answer on the stream.
        broker.ack(request['ack_ids'] as string[]);
        const seconds = request['modify_deadline_seconds'] as number[];
        (request['modify_deadline_ack_ids'] as string[]).forEach((ackId, index) => broker.modify([ackId], deadline(seconds[index])));
      } catch (error) {
        fail(error);
      }
    });
    call.on('end', () => {
      end();
      call.end();
    });
    call.on('cancelled', end);
    call.on('error', end);
    call.on('close', end);
  }

  private openStream(call: ServerDuplexStream<Fields, Fields>, request: Fields): Taker & { held: Set<string> } {
    const subscription = this.subscription(request['subscription']);
    const seconds = Number(request['stream_ack_deadline_seconds']);
    if (seconds < 10 || seconds > 600)
      throw new PubsubError(status.INVALID_ARGUMENT, 'stream_ack_deadline_seconds must be between 10 and 600.');
    const most = Number(request['max_outstanding_messages']);
    const { broker } = this;
    const held = new Set<string>();
    const taker = {
      subscription: subscription.name,
      ackDeadlineSeconds: seconds,
      held,
      room: () => {
        if (call.cancelled || call.destroyed) return 0;
        for (const ackId of held) if (!broker.isLeased(ackId)) held.delete(ackId);
        return most > 0 ? most - held.size : Number.MAX_SAFE_INTEGER;
      },
      take: (deliveries: Delivery[]) => {
        for (const { ackId } of deliveries) held.add(ackId);
        call.write({
          received_messages: deliveries.map(messageWire),
          subscription_properties: { exactly_once_delivery_enabled: false, message_ordering_enabled: false },
        });
      },
    };
    broker.attach(taker);
    return taker;
  }

  /** The publisher's own one is as the settings say; others are as they were made. */
  private wire(one: StoredSubscription): Fields {
    const settings = this.settings();
    if (one.name !== subscriptionOf(settings)) return subscriptionWire(one);
    const push = pushOf(settings);
    return {
      ...subscriptionWire(one),
      ack_deadline_seconds: settings.ackDeadlineSeconds,
      enable_exactly_once_delivery: settings.exactlyOnce,
      ...(push.endpoint === undefined
        ? {}
        : {
            push_config: {
              push_endpoint: push.endpoint,
              oidc_token: { service_account_email: push.serviceAccount, audience: settings.pushAudience ?? '' },
            },
          }),
      ...(settings.deadLetterTopic === undefined
        ? {}
        : { dead_letter_policy: { dead_letter_topic: settings.deadLetterTopic, max_delivery_attempts: 5 } }),
    };
  }

  private topic(name: unknown): { name: string } {
    const found = this.broker.topics.get(String(name));
    if (!found) throw new PubsubError(status.NOT_FOUND, `Resource not found (resource=${short(String(name))}).`);
    return found;
  }

  private subscription(name: unknown): StoredSubscription {
    const found = this.broker.subscriptions.get(String(name));
    if (!found) throw new PubsubError(status.NOT_FOUND, `Resource not found (resource=${short(String(name))}).`);
    return found;
  }
}

function bind(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
}

function unary(answer: (request: Fields) => Fields): handleUnaryCall<Fields, Fields> {
  return (call, callback) => {
    try {
      callback(null, answer(call.request));
    } catch (error) {
      callback(asServiceError(error));
    }
  };
}

function asServiceError(error: unknown): ServiceError {
  const code = error instanceof PubsubError ? error.code : status.INTERNAL;
  return Object.assign(new Error((error as Error).message), { code, details: (error as Error).message }) as ServiceError;
}

function checkedName(name: unknown, kind: 'topics' | 'subscriptions'): string {
  const match = NAME.exec(String(name));
  if (match?.[1] !== kind || match[2]?.startsWith('goog'))
    throw new PubsubError(status.INVALID_ARGUMENT, `Invalid [${kind}] name: (name=${String(name)})`);
  return String(name);
}

function deadline(seconds: unknown): number {
  const value = Number(seconds);
  if (!(value >= 0 && value <= 600))
    throw new PubsubError(status.INVALID_ARGUMENT, 'Invalid ack deadline given: it must be between 0 and 600 seconds.');
  return value;
}

const short = (name: string): string => name.split('/').at(-1) ?? name;

function subscriptionWire(one: StoredSubscription): Fields {
  return { name: one.name, topic: one.topic, ack_deadline_seconds: one.ackDeadlineSeconds, state: 'ACTIVE' };
}

function messageWire({ ackId, message }: Delivery): Fields {
  return { ack_id: ackId, message: pubsubMessage(message) };
}

function pubsubMessage(message: StoredMessage): Fields {
  return {
    data: Buffer.from(message.data, 'base64'),
    attributes: message.attributes,
    message_id: message.id,
    ordering_key: message.orderingKey,
    publish_time: { seconds: Math.floor(message.publishedAtMs / 1000), nanos: (message.publishedAtMs % 1000) * 1_000_000 },
  };
}
