import {
  Calls,
  createLogger,
  Inbox,
  Metrics,
  openDatabase,
  Pressure,
  Sealer,
  SilentNudger,
  TaskRunner,
  Tasks,
  projectRoot,
  type Database,
} from '#platform';
import { ManualClock } from '#platform/testing';
import {
  MarketplaceRegistry,
  type InboundRequest,
  type Marketplace,
  type MarketplaceAdapter,
  type StoredInbound,
} from '#marketplaces/core';
import { FakeMarketplace } from '#marketplaces/core/testing';
import { Audit, Tenants } from '#tenancy';
import { Catalog, Changes, Claims, Landings, SubscriptionRecord, subscriptionIdOf, Subscriptions } from '#entitlements';
import { planGate } from '../../src/processes/plan-gate.js';
import { FakeDriver } from '#provisioning/core/testing';
import { ProvisioningEngine, registerProvisioningHandlers } from '#provisioning/engine';
import { Metering } from '#metering';
import { join } from 'node:path';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { ProcessContext } from '../../src/processes/context.js';
import { receiveWebhook } from '../../src/processes/receive-webhook.js';
import { registerFlows } from '../../src/workers/register-workers.js';

/** All flows across the libs on a real database: a marketplace in memory (or given adapters), the fake driver, a clock that stands still. */
export class Flows {
  readonly runner: TaskRunner;
  /** A step that a test lets fail. */
  readonly broken = new Set<string>();

  private constructor(
    readonly base: TestDatabase,
    readonly db: Database,
    readonly clock: ManualClock,
    readonly tasks: Tasks,
    readonly market: FakeMarketplace,
    readonly p: ProcessContext,
    readonly driver: FakeDriver,
    maxAttempts: number,
  ) {
    this.runner = new TaskRunner(db, clock, new SilentNudger(), createLogger('test', 'silent'), {
      concurrency: 3,
      maxAttempts,
      onParked: (tx, task) => ProcessContext.raiseParked(tx, p.metering, task),
    });
    const register = this.runner.register.bind(this.runner);
    this.runner.register = (name, handler) =>
      register(name, (payload, context) => {
        if (this.broken.has(name)) throw new Error(`${name} is broken`);
        return handler(payload, context);
      });
    registerFlows(p, this.runner, tasks);
    registerProvisioningHandlers(this.runner, p.engine);
  }

  static async open(
    options: { at?: string; adapters?: (clock: ManualClock) => MarketplaceAdapter[]; maxAttempts?: number } = {},
  ): Promise<Flows> {
    const base = await createTestDatabase();
    const db = await openDatabase({ adminUrl: base.url(), secret: base.secret, entities: [SubscriptionRecord], assertions: true });
    const clock = new ManualClock(new Date(options.at ?? '2030-05-01T10:00:00Z'));
    const tasks = new Tasks(clock, new SilentNudger());
    const market = new FakeMarketplace(clock);
    const marketplaces = new MarketplaceRegistry(options.adapters?.(clock) ?? [market]);
    const logger = createLogger('test', 'silent');
    const sealer = new Sealer('a secret of the tests');
    const calls = new Calls(db, clock);
    const tenants = new Tenants(clock, sealer);
    const catalog = new Catalog(clock);
    const subscriptions = new Subscriptions(clock, tasks, catalog);
    const driver = new FakeDriver(clock);
    const engine = new ProvisioningEngine({
      db,
      tasks,
      clock,
      sealer,
      logger,
      drivers: new Map([['fake', driver]]),
      issueCellKey: async (_tx, id) => `cell-key-of-${id}`,
      ingestUrl: () => 'http://ingest.invalid/usage',
    });
    const p = new ProcessContext(
      db,
      clock,
      tasks,
      new Inbox(db, clock),
      calls,
      marketplaces,
      tenants,
      new Audit(clock),
      catalog,
      subscriptions,
      new Changes(clock, catalog, subscriptions, planGate(engine)),
      new Landings(clock, sealer, subscriptions, catalog, tenants, 'first_visit', planGate(engine)),
      engine,
      new Metering({ db, tasks, calls, clock, marketplaces, logger, metrics: new Metrics() }),
      3_600_000,
      new Pressure(),
      new Claims(clock, sealer),
    );
    // The offers that are sold here, on capacity that the fake driver has.
    const plans = catalog
      .readFolder(join(projectRoot(), 'catalog'))
      .map((plan) => ({ ...plan, shape: 'small', defaultRegion: 'here', regions: [{ id: 'here', name: 'Here' }] }));
    await db.ops((tx) => catalog.load(tx, plans));
    return new Flows(base, db, clock, tasks, market, p, driver, options.maxAttempts ?? 2);
  }

  async close(): Promise<void> {
    await this.db.close();
    await this.base.drop();
  }

  /** Everything that is due, and what becomes due within `maxMs` of business time; the clock moves to each. */
  async settle(maxMs = 120_000): Promise<void> {
    const until = this.clock.now().getTime() + maxMs;
    for (;;) {
      await this.runner.drain();
      const [next] = await this.rows<{ at: Date | null }>(
        `select min(t.next_run_at) as at from tasks t where t.state = 'queued'
           and not exists (select 1 from tasks o where o.lane = t.lane and o.state <> 'done' and o.sequence < t.sequence)`,
      );
      if (!next?.at || next.at.getTime() > until) return;
      this.clock.set(new Date(Math.max(next.at.getTime(), this.clock.now().getTime() + 1)));
    }
  }

  rows<T extends object>(sql: string, values: unknown[] = []): Promise<T[]> {
    return this.db.ops((tx) => tx.query<T & Record<string, unknown>>(sql, values));
  }

  deliver(request: InboundRequest): Promise<unknown> {
    return receiveWebhook(this.p, this.market.marketplace, request);
  }

  /** Puts a message into the inbox as a verified sender's and books its task; answers the inbox id. */
  receive(marketplace: Marketplace, message: StoredInbound, lane?: string): Promise<string> {
    return this.db.ops(async (tx) => {
      const { inboxId } = await this.p.inbox.receive(tx, { ...message, contentType: 'application/json', principal: 'a test' });
      await this.tasks.enqueue(tx, { lane: lane ?? `inbox:${inboxId}`, handler: 'inbound.normalise', payload: { inboxId, marketplace } });
      return inboxId;
    });
  }

  /** A purchase that has landed and serves. */
  async serve(name = 'Tide archive', over: Parameters<FakeMarketplace['purchase']>[0] = {}): Promise<{ externalId: string; id: string }> {
    const bought = this.market.purchase({ name, ...over });
    const id = subscriptionIdOf(this.market.marketplace, bought.externalSubscriptionId);
    await this.deliver(bought.message);
    await this.settle();
    await this.land(id, bought.token, name);
    await this.settle();
    return { externalId: bought.externalSubscriptionId, id };
  }

  async land(subscriptionId: string, token: string, organisation: string): Promise<void> {
    const { marketplace } = this.market;
    await this.db.ops(async (tx) => {
      const session = await this.p.landings.open(tx, { marketplace, token, subscriptionId });
      await this.p.landings.complete(tx, session, {
        organisation,
        region: 'here',
        contactName: 'Ada Winter',
        contactEmail: 'ada@winter.example',
      });
    });
  }

  async state(subscriptionId: string): Promise<string> {
    return (await this.db.ops((tx) => this.p.subscriptions.get(tx, subscriptionId))).state;
  }
}
