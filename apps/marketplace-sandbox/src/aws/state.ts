import { createHash, randomBytes, randomInt } from 'node:crypto';
import type { Store, Table } from '../shared/store.js';
import type {
  AcceptedRecord,
  AwsAgreement,
  AwsDelivery,
  Entitlement,
  LegacyCustomer,
  QueueMessage,
  RegistrationToken,
  RoleSession,
  TopicSubscription,
} from './types.js';

/** Everything AWS would remember. */
export class AwsState {
  readonly agreements: Table<AwsAgreement>;
  /** Each agreement as it was after its last changes, oldest first: the index of a search lags. */
  readonly agreementVersions: Table<AwsAgreement[]>;
  readonly deliveries: Table<AwsDelivery>;
  /** Keyed by region, licence, buyer, dimension and hour: the dedupe key (contract aws §5.1, §5.3). */
  readonly usage: Table<AcceptedRecord>;
  /** Keyed by customer identifier. */
  readonly legacy: Table<LegacyCustomer>;
  /** Keyed by holder and dimension: what was granted, version by version. */
  readonly entitlements: Table<Entitlement[]>;
  readonly queues: Table<QueueMessage>;
  readonly subscriptions: Table<TopicSubscription>;
  readonly sessions: Table<RoleSession>;
  /** Private keys of SNS as PEM: the real one, a stranger's. */
  readonly keys: Table<string>;
  private readonly tokens: Table<RegistrationToken>;
  private readonly counters: Table<number>;

  constructor(store: Store) {
    this.agreements = store.table('aws.agreements');
    this.agreementVersions = store.table('aws.agreementVersions');
    this.deliveries = store.table('aws.deliveries');
    this.usage = store.table('aws.usage');
    this.legacy = store.table('aws.legacy');
    this.entitlements = store.table('aws.entitlements');
    this.queues = store.table('aws.queues');
    this.subscriptions = store.table('aws.subscriptions');
    this.sessions = store.table('aws.sessions');
    this.keys = store.table('aws.keys');
    this.tokens = store.table('aws.tokens');
    this.counters = store.table('aws.counters');
  }

  nextSequence(name: string): number {
    return this.counters.put(name, (this.counters.get(name) ?? 0) + 1);
  }

  agreementOfLicence(licenseId: string): AwsAgreement | undefined {
    return this.agreements.values().find((one) => one.licenseId === licenseId);
  }

  deliveriesOf(agreementId: string): AwsDelivery[] {
    return this.deliveries
      .values()
      .filter((delivery) => delivery.agreementId === agreementId)
      .sort((a, b) => a.sequence - b.sequence);
  }

  /** Always holds `+`, `/` and `=`, so that a landing page that decodes twice or not at all is caught. */
  mintToken(agreementId: string, expiresAt: string): string {
    for (;;) {
      const token = randomBytes(95).toString('base64');
      if (!token.includes('+') || !token.includes('/')) continue;
      this.tokens.put(hash(token), { agreementId, expiresAt, isUsed: false });
      return token;
    }
  }

  findToken(token: string): RegistrationToken | undefined {
    return this.tokens.get(hash(token));
  }

  useToken(token: string): void {
    const found = this.findToken(token);
    if (found && !found.isUsed) this.tokens.put(hash(token), { ...found, isUsed: true });
  }
}

function hash(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyz';

export function awsId(prefix: string, length: number): string {
  return `${prefix}-${Array.from({ length }, () => LETTERS[randomInt(LETTERS.length)]).join('')}`;
}

export function newLicenseId(): string {
  return `l-${randomBytes(16).toString('hex')}`;
}
