import { randomInt } from 'node:crypto';
import type { VirtualClock } from '../shared/clock.js';
import type { Store, Table } from '../shared/store.js';
import type { GcpAccount, GcpEntitlement, GcpNotification, GcpUsage } from './types.js';

export interface CheckRecord {
  consumerId: string;
  at: number;
}

export interface ReportedOperation {
  text: string;
  at: string;
}

/** Google's own records. */
export class GcpState {
  readonly accounts: Table<GcpAccount>;
  readonly entitlements: Table<GcpEntitlement>;
  /** Purged ones: their ids answer 404 and are never used again. */
  readonly deleted: Table<GcpEntitlement>;
  readonly notifications: Table<GcpNotification>;
  readonly usage: Table<GcpUsage>;
  /** By operationId. */
  readonly operations: Table<ReportedOperation>;
  readonly checks: Table<CheckRecord>;
  private readonly counters: Table<number>;

  constructor(
    store: Store,
    private readonly clock: VirtualClock,
  ) {
    this.accounts = store.table('gcp.accounts');
    this.entitlements = store.table('gcp.entitlements');
    this.deleted = store.table('gcp.deleted');
    this.notifications = store.table('gcp.notifications');
    this.usage = store.table('gcp.usage');
    this.operations = store.table('gcp.operations');
    this.checks = store.table('gcp.checks');
    this.counters = store.table('gcp.counters');
  }

  next(name: string): number {
    return this.counters.put(name, (this.counters.get(name) ?? 0) + 1);
  }

  /** An instant with microseconds, later than every one before it (contract gcp §3, ordering guard). */
  stamp(): string {
    const micros = Math.max(this.clock.nowMs() * 1000 + randomInt(1, 999), (this.counters.get('micros') ?? 0) + 1);
    this.counters.put('micros', micros);
    return `${new Date(Math.floor(micros / 1000)).toISOString().slice(0, -1)}${String(micros % 1000).padStart(3, '0')}Z`;
  }

  byConsumer(consumerId: string): GcpEntitlement | undefined {
    const match = (one: GcpEntitlement): boolean => consumerOf(one) === consumerId;
    return this.entitlements.values().find(match) ?? this.deleted.values().find(match);
  }

  notificationsOf(entitlementId: string): GcpNotification[] {
    return this.notifications
      .values()
      .filter((one) => one.entitlementId === entitlementId)
      .sort((a, b) => a.sequence - b.sequence);
  }
}

export function consumerOf(entitlement: GcpEntitlement): string {
  return `project_number:${entitlement.projectNumber}`;
}
