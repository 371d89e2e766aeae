import { isFields } from '../liberal.js';

/** An SNS message as it is posted, or wrapped in a queue's body (contract aws §4.2). */
export interface SnsMessage {
  type: 'Notification' | 'SubscriptionConfirmation' | 'UnsubscribeConfirmation';
  messageId: string;
  topicArn: string;
  message: string;
  timestamp: string;
  signatureVersion: string;
  signature: string;
  signingCertUrl: string;
  subject: string | null;
  token: string | null;
  subscribeUrl: string | null;
}

const TYPES = ['Notification', 'SubscriptionConfirmation', 'UnsubscribeConfirmation'] as const;

/** Null unless it is JSON with all the texts of its type. Nothing is trimmed: the signature is of these very texts. */
export function snsMessageOf(body: string): SnsMessage | null {
  const wrapped = snsWrappingOf(body);
  if (!wrapped?.signature || !wrapped.signingCertUrl || !wrapped.signatureVersion || !wrapped.timestamp) return null;
  if (wrapped.type !== 'Notification' && (!wrapped.token || !wrapped.subscribeUrl)) return null;
  return wrapped;
}

/** The same without its signature: what a queue brings is authenticated by the queue's policy (contract aws §4.2). */
export function snsWrappingOf(body: string): SnsMessage | null {
  let raw: unknown;
  try {
    raw = JSON.parse(body);
  } catch {
    return null;
  }
  if (!isFields(raw)) return null;
  const text = (name: string): string | null => {
    const value = raw[name];
    return typeof value === 'string' ? value : null;
  };
  const type = TYPES.find((one) => one === raw['Type']);
  const [messageId, topicArn, message] = [text('MessageId'), text('TopicArn'), text('Message')];
  if (!type || !messageId || messageId.length > 200 || !topicArn || message === null) return null;
  return {
    type,
    messageId,
    topicArn,
    message,
    timestamp: text('Timestamp') ?? '',
    signatureVersion: text('SignatureVersion') ?? '',
    signature: text('Signature') ?? '',
    signingCertUrl: text('SigningCertURL') ?? '',
    subject: text('Subject'),
    token: text('Token'),
    subscribeUrl: text('SubscribeURL'),
  };
}

/** What SNS signs: the present keys in byte order, each with its value, each on a line (contract aws §4.2). */
export function signedTextOf(m: SnsMessage): string {
  const pairs: [string, string | null][] =
    m.type === 'Notification'
      ? [
          ['Message', m.message],
          ['MessageId', m.messageId],
          ['Subject', m.subject],
          ['Timestamp', m.timestamp],
          ['TopicArn', m.topicArn],
          ['Type', m.type],
        ]
      : [
          ['Message', m.message],
          ['MessageId', m.messageId],
          ['SubscribeURL', m.subscribeUrl],
          ['Timestamp', m.timestamp],
          ['Token', m.token],
          ['TopicArn', m.topicArn],
          ['Type', m.type],
        ];
  return pairs.map(([key, value]) => (value === null ? '' : `${key}\n${value}\n`)).join('');
}
