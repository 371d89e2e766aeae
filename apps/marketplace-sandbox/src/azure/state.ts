import { createHash, randomBytes } from 'node:crypto';
import type { Store, Table } from '../shared/store.js';
import type {
  AcceptedUsage,
  AzureDelivery,
  AzureOperation,
  AzureSubscription,
  LandingToken,
  ManagedApp,
  ManagedNotification,
  UsageResource,
} from './types.js';

/** Everything Microsoft would remember. */
export class AzureState {
  readonly subscriptions: Table<AzureSubscription>;
  readonly operations: Table<AzureOperation>;
  readonly deliveries: Table<AzureDelivery>;
  /** Keyed by resource, dimension and hour: the marketplace's dedupe key (contract azure §6). */
  readonly usage: Table<AcceptedUsage>;
  /** By resource usage id. */
  readonly managedApps: Table<ManagedApp>;
  readonly managedNotifications: Table<ManagedNotification>;
  private readonly tokens: Table<LandingToken>;
  private readonly counters: Table<number>;

  constructor(store: Store) {
    this.subscriptions = store.table('azure.subscriptions');
    this.operations = store.table('azure.operations');
    this.deliveries = store.table('azure.deliveries');
    this.usage = store.table('azure.usage');
    this.managedApps = store.table('azure.managedApps');
    this.managedNotifications = store.table('azure.managedNotifications');
    this.tokens = store.table('azure.tokens');
    this.counters = store.table('azure.counters');
  }

  nextSequence(name: string): number {
    const next = (this.counters.get(name) ?? 0) + 1;
    return this.counters.put(name, next);
  }

  operationsOf(subscriptionId: string): AzureOperation[] {
    return this.operations
      .values()
      .filter((operation) => operation.subscriptionId === subscriptionId)
      .sort((a, b) => a.sequence - b.sequence);
  }

  deliveriesOf(subscriptionId: string): AzureDelivery[] {
    return this.deliveries
      .values()
      .filter((delivery) => delivery.subscriptionId === subscriptionId)
      .sort((a, b) => a.sequence - b.sequence);
  }

  /** What takes usage under this id: a subscription, or a managed application by its usage id (contract azure §6). */
  resource(id: string): UsageResource | undefined {
    const app = this.managedApps.get(id);
    if (!app) return this.subscriptions.get(id);
    return {
      offerId: app.offerId,
      planId: app.planId,
      azureSubscriptionId: app.applicationId.split('/')[2]!,
      status: app.deletedAt ? 'Unsubscribed' : app.activatedAt ? 'Subscribed' : 'PendingFulfillmentStart',
      activatedAt: app.activatedAt,
      unsubscribedAt: app.deletedAt,
      planHistory: app.planHistory,
    };
  }

  /** Always holds both `+` and `/`, so that a landing page that decodes twice or not at all is caught. */
  mintToken(subscriptionId: string, expiresAt: string): string {
    for (;;) {
      const token = randomBytes(96).toString('base64');
      if (!token.includes('+') || !token.includes('/')) continue;
      this.tokens.put(hash(token), { subscriptionId, expiresAt });
      return token;
    }
  }

  findToken(token: string): LandingToken | undefined {
    return this.tokens.get(hash(token));
  }
}

function hash(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
