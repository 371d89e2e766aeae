import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { openDatabase, Sealer, SilentNudger, Tasks, type Database } from '#platform';
import { ManualClock } from '#platform/testing';
import { Tenants } from '#tenancy';
import type { FulfillmentEvent, SubscriptionTruth } from '#marketplaces/core';
import { expect } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import {
  Catalog,
  Changes,
  Landings,
  Subscriptions,
  subscriptionIdOf,
  SubscriptionRecord,
  type ApplyOutcome,
  type Segment,
} from '../src/index.js';
import { readSegments } from '../src/infra/segments.sql.js';
import { eventOf, truthOf } from '../src/testing/index.js';

export const TEST_CATALOG = fileURLToPath(new URL('./catalog/', import.meta.url));
const EVENTS = [
  'needs_tenant',
  'tenant_bound',
  'activated',
  'scheduled',
  'suspended',
  'reinstated',
  'ended',
  'cancelled',
  'voided',
  'changed',
];

export interface Right {
  what: string;
  value: string;
  from: string;
  until: string | null;
}

/** The lib on a real database, with an invented catalog and a clock that stands still. */
export class Rig {
  readonly clock = new ManualClock(new Date('2030-05-01T10:00:00Z'));
  readonly sealer = new Sealer('a secret of the tests');
  readonly tasks = new Tasks(this.clock, new SilentNudger());
  readonly catalog = new Catalog(this.clock);
  readonly subscriptions = new Subscriptions(this.clock, this.tasks, this.catalog);
  readonly changes = new Changes(this.clock, this.catalog, this.subscriptions);
  readonly tenants = new Tenants(this.clock, this.sealer);
  readonly landings = new Landings(this.clock, this.sealer, this.subscriptions, this.catalog, this.tenants);

  private constructor(
    readonly base: TestDatabase,
    readonly db: Database,
  ) {
    for (const name of EVENTS) this.tasks.subscribe(`subscription.${name}`, name);
  }

  static async open(): Promise<Rig> {
    const base = await createTestDatabase();
    const db = await openDatabase({ adminUrl: base.url(), secret: base.secret, entities: [SubscriptionRecord], assertions: true });
    const rig = new Rig(base, db);
    await db.ops((tx) => rig.catalog.load(tx, rig.catalog.readFolder(TEST_CATALOG)));
    return rig;
  }

  async close(): Promise<void> {
    await this.db.close();
    await this.base.drop();
  }

  /** Puts the clock to a time of the day all tests live on, `10:30` or `10:30:05.250`. */
  at(time: string): Date {
    const at = new Date(`2030-05-01T${time.length === 5 ? `${time}:00` : time}Z`);
    this.clock.set(at);
    return at;
  }

  apply(event: FulfillmentEvent): Promise<ApplyOutcome> {
    return this.db.ops((tx) => this.subscriptions.apply(tx, event, null));
  }

  /** The purchase as its marketplace shows it at a time of the day. */
  see(
    externalSubscriptionId: string,
    time: string,
    over: Partial<SubscriptionTruth>,
    event: Partial<FulfillmentEvent> = {},
  ): Promise<ApplyOutcome> {
    return this.apply(eventOf(truthOf({ externalSubscriptionId, observedAt: this.at(time), ...over }), event));
  }

  /** Bought, landed and activated at 10:00. */
  async active(externalSubscriptionId: string, over: Partial<SubscriptionTruth> = {}): Promise<string> {
    await this.see(externalSubscriptionId, '10:00', { ...over, state: 'pending_fulfillment' });
    const tenantId = await this.bind(externalSubscriptionId);
    await this.see(externalSubscriptionId, '10:00', { ...over, state: 'active' });
    return tenantId;
  }

  get(externalSubscriptionId: string): Promise<SubscriptionRecord> {
    return this.db.ops((tx) => this.subscriptions.get(tx, subscriptionIdOf('azure', externalSubscriptionId)));
  }

  /** Gives the purchase a tenant, as a landing or an activation does. */
  async bind(externalSubscriptionId: string, tenantId: string = randomUUID()): Promise<string> {
    await this.db.ops((tx) => this.subscriptions.bindTenant(tx, subscriptionIdOf('azure', externalSubscriptionId), tenantId));
    return tenantId;
  }

  segments(externalSubscriptionId: string): Promise<Segment[]> {
    const id = subscriptionIdOf('azure', externalSubscriptionId);
    return this.db.ops((tx) => readSegments(tx, { subscriptionIds: [id], from: new Date(0), to: new Date('2100-01-01T00:00:00Z') }));
  }

  /** Every right the purchase ever had, oldest first. */
  async rights(externalSubscriptionId: string): Promise<Right[]> {
    const rows = await this.db.ops((tx) =>
      tx.query<{ what: string; value: string; starts_at: Date; ends_at: Date | null }>(
        `select feature as what, value #>> '{}' as value, starts_at, ends_at from entitlements where subscription_id = $1
         union all select name, hard_limit::text, starts_at, ends_at from quotas where subscription_id = $1 order by starts_at, what`,
        [subscriptionIdOf('azure', externalSubscriptionId)],
      ),
    );
    const time = (at: Date): string => at.toISOString().slice(11, 16);
    return rows.map((r) => ({ what: r.what, value: r.value, from: time(r.starts_at), until: r.ends_at && time(r.ends_at) }));
  }

  /** Names of the events published about a purchase, in order. */
  async published(externalSubscriptionId: string): Promise<string[]> {
    const rows = await this.db.ops((tx) =>
      tx.query<{ handler: string }>('select handler from tasks where lane = $1 order by sequence', [
        `subscription:${subscriptionIdOf('azure', externalSubscriptionId)}`,
      ]),
    );
    return rows.map((r) => r.handler);
  }
}

/** `10:00–10:20 activated standard`, `!` for not billable: what a reader of a bill needs of a segment. */
export const told = (segments: Segment[]): string[] =>
  segments.map((s) => {
    const time = (at: Date | null): string => (at ? at.toISOString().slice(11, 16) : '');
    return `${time(s.startsAt)}–${time(s.endsAt)} ${s.reason} ${s.externalPlanId}${s.quantity === null ? '' : `×${s.quantity}`}${s.billable ? '' : ' !'}`;
  });

/** The segments of a purchase are one unbroken row of half-open stretches; only the last may be open. */
export function expectUnbroken(segments: Segment[]): void {
  segments.forEach((segment, i) => {
    expect(segment.sequence).toBe(i + 1);
    if (segment.endsAt) expect(segment.endsAt.getTime()).toBeGreaterThan(segment.startsAt.getTime());
    if (i < segments.length - 1) expect(segment.endsAt).toEqual(segments[i + 1]!.startsAt);
  });
}
