import { randomUUID } from 'node:crypto';
import { Calls, createLogger, openDatabase, SilentNudger, Tasks, type Database } from '#platform';
import { ManualClock } from '#platform/testing';
import {
  MarketplaceRegistry,
  type Marketplace,
  type MarketplaceAdapter,
  type UsageItemOutcome,
  type UsageWireItem,
} from '#marketplaces/core';
import { FakeMarketplace } from '#marketplaces/core/testing';
import { Metering } from '../application/metering.js';
import type { MeteringDeps, MeteringOptions } from '../application/deps.js';
import { Fixtures, sampleEvent, watermarkEvent, type Purchase } from './fixtures.js';

export const at = (text: string): Date => new Date(`2026-03-${text}:00.000Z`);

type Send = (items: UsageWireItem[]) => Promise<UsageItemOutcome[]>;

/** A marketplace whose door a test can stand in; everything else is the fake itself. */
export function door(wrap: (inner: Send) => Send): (m: FakeMarketplace) => MarketplaceAdapter {
  return (m) =>
    new Proxy(m, {
      get: (target, name) => {
        if (name === 'submitUsage') return wrap((items) => target.submitUsage(items));
        const value: unknown = Reflect.get(target, name, target);
        return value instanceof Function ? (value as () => unknown).bind(target) : value;
      },
    });
}

/** Metering on a real database with a marketplace in memory (or several) and a clock that a test moves. */
export class Harness {
  readonly clusterId = randomUUID();
  readonly source = `/cells/${this.clusterId}`;
  readonly cell = { kind: 'cell' as const, keyId: 'k1', clusterId: this.clusterId };
  readonly fixtures: Fixtures;
  readonly tasks: Tasks;
  metering: Metering;

  private constructor(
    readonly db: Database,
    readonly clock: ManualClock,
    readonly market: FakeMarketplace,
    private readonly adapter: MarketplaceAdapter,
    private readonly options: MeteringOptions,
    readonly others: FakeMarketplace[],
  ) {
    this.fixtures = new Fixtures(db);
    this.tasks = new Tasks(clock, new SilentNudger());
    this.tasks.subscribe('usage.settled', 'test.settled');
    this.metering = this.another();
  }

  static async open(
    adminUrl: string,
    secret: string,
    start: Date,
    wrap: (m: FakeMarketplace) => MarketplaceAdapter = (m) => m,
    usage: Partial<MarketplaceAdapter['usage']> = {},
    options: MeteringOptions = {},
    others: Marketplace[] = [],
  ): Promise<Harness> {
    const db = await openDatabase({ adminUrl, secret, poolSize: 4, assertions: true });
    const clock = new ManualClock(start);
    const market = new FakeMarketplace(clock, { usage });
    const more = others.map((marketplace) => new FakeMarketplace(clock, { marketplace, usage }));
    return new Harness(db, clock, market, wrap(market), options, more);
  }

  get deps(): MeteringDeps {
    return {
      db: this.db,
      tasks: this.tasks,
      calls: new Calls(this.db, this.clock),
      clock: this.clock,
      marketplaces: new MarketplaceRegistry([this.adapter, ...this.others]),
      logger: createLogger('test', 'silent'),
      options: this.options,
    };
  }

  /** Another worker over the same database and marketplace. */
  another(): Metering {
    return new Metering(this.deps);
  }

  async buy(planVersionId: string, startsAt: Date, externalPlanId = 'gold', market = this.market): Promise<Purchase> {
    const { externalSubscriptionId } = market.purchase({ state: 'active', externalPlanId });
    const { marketplace } = market;
    const p = await this.fixtures.purchase({ planVersionId, startsAt, externalPlanId, externalSubscriptionId, marketplace });
    await this.db.ops((tx) =>
      this.metering.bindPlacement(tx, {
        placementId: p.placementId,
        tenantId: p.tenantId,
        subscriptionId: p.subscriptionId,
        source: this.source,
        from: startsAt,
      }),
    );
    return p;
  }

  /** Gauge and counter every five minutes in [from, to], the counter growing by `perStep`; then the watermark at `to`. */
  async report(placements: string[], from: Date, to: Date, value: bigint, perStep = 0n, started = from): Promise<void> {
    const events: unknown[] = [];
    for (let t = from.getTime(); t <= to.getTime(); t += 300_000) {
      for (const p of placements) {
        events.push(sampleEvent(this.source, p, new Date(t), value));
        if (perStep > 0n)
          events.push(sampleEvent(this.source, p, new Date(t), perStep * BigInt((t - started.getTime()) / 300_000), { kind: 'counter' }));
      }
    }
    events.push(watermarkEvent(this.source, to));
    const { results } = await this.metering.ingest(this.cell, events);
    const bad = results.find((r) => r.outcome !== 'accepted');
    if (bad) throw new Error(`not accepted: ${JSON.stringify(bad)}`);
  }

  rows<T = Record<string, unknown>>(sql: string, params: unknown[] = []): Promise<T[]> {
    return this.db.ops((tx) => tx.query<T>(sql, params));
  }

  async close(): Promise<void> {
    await this.db.close();
  }
}
