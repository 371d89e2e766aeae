import { createHash, createPrivateKey, createSign, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { DAY } from '../../shared/clock.js';
import { selfSignedCertificate } from '../../shared/x509.js';
import type { AwsState } from '../state.js';

export type SnsMessage = Record<string, string>;
type KeyName = 'genuine' | 'stranger';

const FIELDS: Record<string, string[]> = {
  Notification: ['Message', 'MessageId', 'Subject', 'Timestamp', 'TopicArn', 'Type'],
  SubscriptionConfirmation: ['Message', 'MessageId', 'SubscribeURL', 'Timestamp', 'Token', 'TopicArn', 'Type'],
  UnsubscribeConfirmation: ['Message', 'MessageId', 'SubscribeURL', 'Timestamp', 'Token', 'TopicArn', 'Type'],
};

/** What is served as a certificate, by the first letters of the file's name: one good one, and some that must not be believed. */
const CERTIFICATES = {
  /** Under a name nobody has seen: shows whether it was fetched. */
  feed: { key: 'genuine', name: 'sns.amazonaws.com', fromDays: -1, toDays: 365 },
  dead: { key: 'stranger', name: 'sns.amazonaws.com', fromDays: -30, toDays: -1 },
  face: { key: 'stranger', name: 'sns.evil.example', fromDays: -1, toDays: 365 },
} as const;
export type CertificateKind = keyof typeof CERTIFICATES;

/** The keys of SNS and how it signs (contract aws §4.2). Certificates live in real time. */
export class SnsSigner {
  private readonly kept = new Map<string, string>();

  constructor(private readonly state: AwsState) {}

  /** The name of the file that SigningCertURL ends in. */
  fileOf(kind?: CertificateKind): string {
    const name = kind
      ? kind + randomBytes(14).toString('hex')
      : createHash('sha256').update(this.pem('genuine')).digest('hex').replace(/^..../, 'a1a1').slice(0, 32);
    return `SimpleNotificationService-${name}.pem`;
  }

  certificate(file: string): string {
    const kind = Object.keys(CERTIFICATES).find((one) => file.startsWith(`SimpleNotificationService-${one}`)) as
      CertificateKind | undefined;
    const { key, name, fromDays, toDays } = CERTIFICATES[kind ?? 'feed'];
    const known = this.kept.get(kind ?? 'feed');
    if (known) return known;
    const pem = selfSignedCertificate({
      privateKey: this.key(key),
      commonName: name,
      serial: randomBytes(8),
      notBefore: new Date(Date.now() + fromDays * DAY),
      notAfter: new Date(Date.now() + toDays * DAY),
    });
    this.kept.set(kind ?? 'feed', pem);
    return pem;
  }

  /** V1 is SHA1withRSA, V2 SHA256withRSA, over each field that is there in byte order: `Key\nValue\n`. */
  sign(message: SnsMessage, key: KeyName = 'genuine'): SnsMessage {
    const text = (FIELDS[message['Type'] ?? ''] ?? [])
      .filter((field) => message[field] !== undefined)
      .map((field) => `${field}\n${message[field]}\n`)
      .join('');
    const algorithm = message['SignatureVersion'] === '1' ? 'RSA-SHA1' : 'RSA-SHA256';
    return { ...message, Signature: createSign(algorithm).update(text, 'utf8').sign(this.key(key), 'base64') };
  }

  private key(name: KeyName): KeyObject {
    return createPrivateKey(this.pem(name));
  }

  private pem(name: KeyName): string {
    return (
      this.state.keys.get(name) ??
      this.state.keys.put(
        name,
        String(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' })),
      )
    );
  }
}
