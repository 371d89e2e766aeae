import { randomBytes, randomUUID } from 'node:crypto';
import { SECOND } from '../../shared/clock.js';
import { ControlError } from '../../shared/http.js';
import type { AwsContext } from '../context.js';
import type { Deliveries } from '../deliveries.js';
import { AwsError, xmlOf } from '../errors.js';
import type { Operation } from '../service-scope.js';
import { postSns, type TargetAnswer } from '../target-client.js';
import type { TopicSubscription } from '../types.js';
import { type CertificateKind, type SnsMessage, SnsSigner } from './sns-signer.js';

export const FORGERIES = [
  'none',
  'no_signature',
  'wrong_key',
  'changed_message',
  'unknown_version',
  'wrong_version',
  'wrong_topic',
  'foreign_topic',
  'look_alike_host',
  'user_in_host',
  'other_place',
  'redirect',
  'private_address',
  'expired_certificate',
  'foreign_certificate',
] as const;
export type Forgery = (typeof FORGERIES)[number];

const PAGE = 100;

/** The topics of legacy listings, their subscriptions, and SNS's API for them (contract aws §4.2). */
export class Topics {
  readonly signer: SnsSigner;

  constructor(
    private readonly context: AwsContext,
    private readonly deliveries: Deliveries,
    private readonly baseUrl: () => string,
    private readonly kick: () => void,
  ) {
    this.signer = new SnsSigner(context.state);
  }

  arnOf(kind: 'subscription' | 'entitlement', productCode: string): string {
    return `arn:aws:sns:us-east-1:${this.context.settings().topicAccountId}:aws-mp-${kind}-notification-${productCode}`;
  }

  private get arns(): string[] {
    return this.context
      .settings()
      .products.filter((one) => one.contract === 'legacy')
      .flatMap(({ code, pricing }) => [
        ...(pricing === 'contract' ? [] : [this.arnOf('subscription', code)]),
        ...(pricing === 'usage' ? [] : [this.arnOf('entitlement', code)]),
      ]);
  }

  list(): TopicSubscription[] {
    return this.context.state.subscriptions.values();
  }

  /** A queue is confirmed by its owner's policy; an address must answer for itself. */
  subscribe(topicArn: string, protocol: TopicSubscription['protocol'], endpoint: string): TopicSubscription {
    if (!this.arns.includes(topicArn)) throw new ControlError(404, 'topic.unknown', `There is no topic ${topicArn}.`);
    const { state } = this.context;
    const arn = `${topicArn}:${randomUUID()}`;
    const one = { arn, topicArn, protocol, endpoint, token: randomBytes(48).toString('hex'), isConfirmed: protocol === 'sqs' };
    state.subscriptions.put(arn, one);
    if (!one.isConfirmed) {
      this.enqueue(one, this.signed(this.confirmation(one)));
      this.kick();
    }
    return one;
  }

  /** A notification to all who are subscribed. */
  publish(topicArn: string, message: object): void {
    for (const one of this.list())
      if (one.topicArn === topicArn && one.isConfirmed)
        this.enqueue(one, this.signed(this.notification(topicArn, JSON.stringify(message))));
    this.kick();
  }

  /** Any message once, straight to an address; how it was answered. */
  async send(request: {
    endpoint: string;
    topicArn: string;
    message: string;
    subject?: string;
    type: 'Notification' | 'SubscriptionConfirmation';
    token?: string;
    messageId?: string;
    signatureVersion?: '1' | '2';
    forge: Forgery;
  }): Promise<TargetAnswer & { message: SnsMessage }> {
    const { endpoint, topicArn, message, subject, type, token, messageId, signatureVersion, forge } = request;
    const base: SnsMessage = {
      ...this.notification(topicArn, message),
      ...(subject === undefined ? {} : { Subject: subject }),
      ...(messageId === undefined ? {} : { MessageId: messageId }),
      ...(signatureVersion === undefined ? {} : { SignatureVersion: signatureVersion }),
      ...(type === 'Notification' ? {} : this.confirming(topicArn, token ?? randomBytes(48).toString('hex'))),
    };
    const made = this.forged(base, forge);
    return {
      message: made,
      ...(await postSns(endpoint, JSON.stringify(made), made, this.context.settings().targetTimeoutSeconds * SECOND)),
    };
  }

  /** In the query protocol. Only the seller account may subscribe, list and confirm. */
  operations(): Record<string, Operation> {
    const ours =
      (operation: Operation): Operation =>
      (input, caller, request) => {
        if (caller.accountId !== this.context.settings().sellerAccountId)
          throw new AwsError('AuthorizationError', 'User is not authorized to perform this action on the topic.');
        return operation(input, caller, request);
      };
    return {
      Subscribe: ours((input) => {
        const [topicArn, protocol, endpoint] = [text(input, 'TopicArn'), text(input, 'Protocol'), text(input, 'Endpoint')];
        if (!this.arns.includes(topicArn)) throw new AwsError('NotFound', 'Topic does not exist');
        if (protocol !== 'http' && protocol !== 'https' && protocol !== 'sqs')
          throw new AwsError('InvalidParameter', 'Invalid parameter: Protocol');
        const { arn, isConfirmed } = this.subscribe(topicArn, protocol, endpoint);
        return `<SubscriptionArn>${isConfirmed ? arn : 'pending confirmation'}</SubscriptionArn>`;
      }),
      ListSubscriptions: ours((input) => {
        const from = input['NextToken'] === undefined ? 0 : Number(input['NextToken']);
        const shown = this.list().slice(from, from + PAGE);
        const rows = shown.map(
          (one) =>
            `<member><TopicArn>${xmlOf(one.topicArn)}</TopicArn><Protocol>${one.protocol}</Protocol><SubscriptionArn>${one.isConfirmed ? xmlOf(one.arn) : 'PendingConfirmation'}</SubscriptionArn><Owner>${this.context.settings().sellerAccountId}</Owner><Endpoint>${xmlOf(one.endpoint)}</Endpoint></member>`,
        );
        const next = from + PAGE < this.list().length ? `<NextToken>${from + PAGE}</NextToken>` : '';
        return `<Subscriptions>${rows.join('')}</Subscriptions>${next}`;
      }),
      ConfirmSubscription: ours((input) => {
        const confirmed = this.confirm(text(input, 'TopicArn'), text(input, 'Token'));
        if (!confirmed) throw new AwsError('InvalidParameter', 'Invalid parameter: Token');
        return `<SubscriptionArn>${xmlOf(confirmed.arn)}</SubscriptionArn>`;
      }),
    };
  }

  /** Also what opening a SubscribeURL does, which a seller's program must never do. */
  confirm(topicArn: string, token: string): TopicSubscription | undefined {
    const found = this.list().find((one) => one.topicArn === topicArn && one.token === token);
    return found && this.context.state.subscriptions.put(found.arn, { ...found, isConfirmed: true });
  }

  private enqueue(one: TopicSubscription, message: SnsMessage): void {
    this.deliveries.enqueueTopic(one, message['Type'] ?? '', message['MessageId'] ?? '', JSON.stringify(message));
  }

  private notification(topicArn: string, message: string): SnsMessage {
    return {
      Type: 'Notification',
      MessageId: randomUUID(),
      TopicArn: topicArn,
      Message: message,
      Timestamp: this.context.clock.now().toISOString(),
      SignatureVersion: this.context.settings().snsSignatureVersion,
      SigningCertURL: `${this.snsUrl}/${this.signer.fileOf()}`,
      UnsubscribeURL: `${this.snsUrl}/?Action=Unsubscribe&SubscriptionArn=${encodeURIComponent(topicArn)}`,
    };
  }

  private confirmation(one: TopicSubscription): SnsMessage {
    const message = `You have chosen to subscribe to the topic ${one.topicArn}.\nTo confirm the subscription, visit the SubscribeURL included in this message.`;
    return { ...this.notification(one.topicArn, message), ...this.confirming(one.topicArn, one.token) };
  }

  private confirming(topicArn: string, token: string): SnsMessage {
    const query = `Action=ConfirmSubscription&TopicArn=${encodeURIComponent(topicArn)}&Token=${token}`;
    return { Type: 'SubscriptionConfirmation', Token: token, SubscribeURL: `${this.snsUrl}/?${query}` };
  }

  private get snsUrl(): string {
    return `${this.baseUrl()}/aws/sns`;
  }

  private signed(message: SnsMessage): SnsMessage {
    return this.signer.sign(message);
  }

  /** A message that must be refused for one reason only: all else about it is right. */
  private forged(message: SnsMessage, forge: Forgery): SnsMessage {
    const certificate = (url: string): SnsMessage => this.signer.sign({ ...message, SigningCertURL: url });
    const file = (kind: CertificateKind): string => `${this.snsUrl}/${this.signer.fileOf(kind)}`;
    const genuine = this.signer.fileOf();
    switch (forge) {
      case 'none':
        return this.signer.sign(message);
      case 'no_signature':
        return message;
      case 'wrong_key':
        return this.signer.sign(message, 'stranger');
      case 'changed_message':
        return { ...this.signer.sign({ ...message, Message: `${message['Message']} ` }), Message: message['Message'] ?? '' };
      case 'unknown_version':
        return { ...this.signer.sign(message), SignatureVersion: '3' };
      case 'wrong_version':
        return { ...this.signer.sign(message), SignatureVersion: message['SignatureVersion'] === '1' ? '2' : '1' };
      // Signed by SNS itself: anybody can have a topic. Its certificate has a name of its own, so a fetch shows.
      case 'wrong_topic':
        return this.signer.sign({ ...message, TopicArn: `${message['TopicArn']}x`, SigningCertURL: file('feed') });
      case 'foreign_topic':
        return this.signer.sign({
          ...message,
          TopicArn: (message['TopicArn'] ?? '').replace(/:\d{12}:/, ':666600006666:'),
          SigningCertURL: file('feed'),
        });
      case 'look_alike_host':
        return certificate(`https://sns.us-east-1.amazonaws.com.evil.example/${genuine}`);
      case 'user_in_host':
        return certificate(`${this.baseUrl().replace('://', '://sns.us-east-1.amazonaws.com@')}/aws/sns/${genuine}`);
      // The same certificate, served at an address where SNS has none.
      case 'other_place':
        return certificate(`${this.baseUrl()}/aws/elsewhere/${genuine}`);
      case 'redirect':
        return certificate(`${this.snsUrl}/SimpleNotificationService-beef${randomBytes(14).toString('hex')}.pem`);
      case 'private_address':
        return certificate(`https://169.254.169.254/${genuine}`);
      case 'expired_certificate':
        return this.signer.sign({ ...message, SigningCertURL: file('dead') }, 'stranger');
      case 'foreign_certificate':
        return this.signer.sign({ ...message, SigningCertURL: file('face') }, 'stranger');
    }
  }
}

function text(input: Record<string, unknown>, name: string): string {
  const value = input[name];
  if (typeof value !== 'string' || value === '') throw new AwsError('InvalidParameter', `Invalid parameter: ${name}`);
  return value;
}
