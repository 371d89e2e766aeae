import { randomUUID } from 'node:crypto';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import {
  Calls,
  createLogger,
  GuardedHttp,
  hostsOf,
  Inbox,
  openDatabase,
  Pressure,
  Sealer,
  SilentNudger,
  TaskRunner,
  Tasks,
  TASKS,
  type Database,
  type Tx,
} from '#platform';
import { ManualClock } from '#platform/testing';
import { MarketplaceRegistry } from '#marketplaces/core';
import { FakeMarketplace } from '#marketplaces/core/testing';
import { createAwsAdapter } from '#marketplaces/aws';
import { Audit, Tenants } from '#tenancy';
import { Catalog, Changes, Claims, Landings, subscriptionIdOf, SubscriptionRecord, Subscriptions } from '#entitlements';
import { FakeDriver } from '#provisioning/core/testing';
import { ProvisioningEngine } from '#provisioning/engine';
import { Metering } from '#metering';
import { sampleEvent, watermarkEvent } from '#metering/testing';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { ProcessContext } from '../../src/processes/context.js';
import { openLanding } from '../../src/processes/open-landing.js';
import { receiveWebhook } from '../../src/processes/receive-webhook.js';
import { registerWorkers } from '../../src/workers/register-workers.js';

const CATALOG = fileURLToPath(new URL('../../../../catalog/', import.meta.url));
export const PRODUCT = '4harborobjectcells0000000';
const SECRET = 'an invented secret of a test';
export const arnOf = (licenseId: string): string => `arn:aws:license-manager::294400000000:license:${licenseId}`;

interface UsageRecord {
  Timestamp: number;
  LicenseArn?: string;
  CustomerIdentifier?: string;
  Dimension: string;
  Quantity: number;
}

/**
 * The calls of AWS's metering service: a token is the licence, or the customer identifier of an old listing, it stands for; first write wins (contract aws §2, §5.3). And of the
 * entitlement service (§3).
 */
class Metered {
  readonly accepted = new Map<string, UsageRecord>();
  readonly conflicts: UsageRecord[] = [];
  /** Units of `nodes` by the licence's ARN; a licence that is not here has none. */
  readonly granted = new Map<string, number>();
  entitlementsAreDown = false;
  /** Usage is not taken just now. */
  throttles = false;
  private readonly server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const asked = JSON.parse(body) as { RegistrationToken?: string; UsageRecords?: UsageRecord[]; Filter?: { LICENSE_ARN: string[] } };
      response.setHeader('content-type', 'application/x-amz-json-1.1');
      if (asked.UsageRecords && this.throttles) {
        response.statusCode = 400;
        response.end('{"__type":"ThrottlingException"}');
        return;
      }
      if (asked.Filter) return this.grant(asked.Filter.LICENSE_ARN[0]!, response);
      response.end(JSON.stringify(asked.UsageRecords ? this.meter(asked.UsageRecords) : resolve(asked.RegistrationToken!)));
    });
  });

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }
  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private grant(licenseArn: string, response: ServerResponse): void {
    if (this.entitlementsAreDown) {
      response.statusCode = 500;
      response.end('{"__type":"InternalServiceErrorException"}');
      return;
    }
    const units = this.granted.get(licenseArn);
    response.end(JSON.stringify({ Entitlements: units === undefined ? [] : [{ Dimension: 'nodes', Value: { IntegerValue: units } }] }));
  }

  private meter(records: UsageRecord[]): object {
    return {
      Results: records.map((record) => {
        const key = [record.LicenseArn ?? record.CustomerIdentifier, record.Dimension, record.Timestamp].join('|');
        const first = this.accepted.get(key);
        if (first && first.Quantity !== record.Quantity) {
          this.conflicts.push(record);
          return { UsageRecord: record, Status: 'DuplicateRecord' };
        }
        this.accepted.set(key, record);
        return { UsageRecord: record, MeteringRecordId: key, Status: 'Success' };
      }),
      UnprocessedRecords: [],
    };
  }
}

const resolve = (token: string): object => {
  const [licenseId, accountId] = token.split('/');
  if (!licenseId!.startsWith('l-')) return { ProductCode: PRODUCT, CustomerIdentifier: licenseId, CustomerAWSAccountId: accountId };
  return { ProductCode: PRODUCT, CustomerAWSAccountId: accountId, LicenseArn: arnOf(licenseId!) };
};

/** The flows of the control plane with all libs, without HTTP of its own: AWS's adapter, and a marketplace in memory as `azure`. */
export class AwsFlows {
  readonly tasks: Tasks;
  readonly runner: TaskRunner;
  readonly p: ProcessContext;
  readonly engine: ProvisioningEngine;
  readonly metering: Metering;
  readonly sealer = new Sealer('a secret of the tests');

  private constructor(
    private readonly base: TestDatabase,
    readonly db: Database,
    readonly clock: ManualClock,
    readonly metered: Metered,
    readonly fake: FakeMarketplace,
    endpoint: string,
    isContract: boolean,
    legacyUntil: Date | null,
  ) {
    const logger = createLogger('test', 'silent');
    this.tasks = new Tasks(clock, new SilentNudger());
    const aws = createAwsAdapter(
      {
        productCodes: [PRODUCT],
        region: 'us-east-1',
        endpoint,
        webhookSecret: SECRET,
        credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'an invented key' },
        ...(legacyUntil ? { legacyProducts: { [PRODUCT]: { until: legacyUntil.toISOString() } } } : {}),
        ...(isContract ? { contractProducts: { [PRODUCT]: { quantityDimension: 'nodes' } }, entitlementEndpoint: endpoint } : {}),
      },
      { clock, http: new GuardedHttp({ allow: hostsOf([endpoint]) }) },
    );
    const marketplaces = new MarketplaceRegistry([aws, fake]);
    const calls = new Calls(db, clock);
    const catalog = new Catalog(clock);
    const tenants = new Tenants(clock, this.sealer);
    const subscriptions = new Subscriptions(clock, this.tasks, catalog);
    this.metering = new Metering({ db, tasks: this.tasks, calls, clock, marketplaces, logger });
    this.engine = new ProvisioningEngine({
      db,
      tasks: this.tasks,
      clock,
      sealer: this.sealer,
      logger,
      drivers: new Map([['fake', new FakeDriver(clock)]]),
      ingestUrl: () => 'http://ingest.test/usage',
      issueCellKey: (_tx, id) => Promise.resolve(`key-of-${id}`),
    });
    this.p = new ProcessContext(
      db,
      clock,
      this.tasks,
      new Inbox(db, clock),
      calls,
      marketplaces,
      tenants,
      new Audit(clock),
      catalog,
      subscriptions,
      new Changes(clock, catalog, subscriptions),
      new Landings(clock, this.sealer, subscriptions, catalog, tenants),
      this.engine,
      this.metering,
      3_600_000,
      new Pressure(),
      new Claims(clock, this.sealer),
    );
    this.runner = new TaskRunner(db, clock, new SilentNudger(), logger);
    const provided = new Map<unknown, unknown>([
      [ProcessContext, this.p],
      [TASKS, this.tasks],
      [ProvisioningEngine, this.engine],
      [Metering, this.metering],
    ]);
    registerWorkers({ get: (token: unknown) => provided.get(token) } as never, this.runner, { driftMinutes: 0, azure: null });
  }

  /**
   * `contract`: the product is sold by units of `nodes`, and so is what may be stored. `legacyUntil`: it is an old listing, and by
   * licence from then on.
   */
  static async open(start: Date, { contract = false, legacyUntil = null as Date | null } = {}): Promise<AwsFlows> {
    const base = await createTestDatabase();
    const db = await openDatabase({ adminUrl: base.url(), secret: base.secret, entities: [SubscriptionRecord], assertions: true });
    const clock = new ManualClock(start);
    const metered = new Metered();
    const flows = new AwsFlows(base, db, clock, metered, new FakeMarketplace(clock), await metered.start(), contract, legacyUntil);
    // What the driver in memory offers.
    const files = flows.p.catalog
      .readFolder(CATALOG)
      .map((plan) => ({ ...plan, regions: [{ id: 'here', name: 'Here' }], shape: 'small', defaultRegion: 'here' }))
      .map((plan) => (contract ? { ...plan, quotas: plan.quotas.map((quota) => ({ ...quota, per: 'unit' as const })) } : plan));
    await db.ops((tx) => flows.p.catalog.load(tx, files));
    return flows;
  }

  async close(): Promise<void> {
    await this.db.close();
    this.metered.stop();
    await this.base.drop();
  }

  ops<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.db.ops(work);
  }
  rows<T = Record<string, unknown>>(sql: string, params: unknown[] = []): Promise<T[]> {
    return this.db.ops((tx) => tx.query<T>(sql, params));
  }

  /** Moves to `at` and on the way through every instant at which a task is due. */
  async until(at: Date): Promise<void> {
    for (;;) {
      while (await this.runner.drain());
      const [next] = await this.rows<{ at: Date | null }>(
        `select min(next_run_at) as at from tasks t where state = 'queued' and not exists (select 1 from tasks o where o.lane = t.lane and o.state <> 'done' and o.sequence < t.sequence)`,
      );
      if (!next?.at || next.at > at) break;
      if (next.at > this.clock.now()) this.clock.set(next.at);
    }
    if (at > this.clock.now()) this.clock.set(at);
    while (await this.runner.drain());
  }

  event(body: object): Promise<unknown> {
    return receiveWebhook(this.p, 'aws', { headers: { 'x-berth-webhook-secret': SECRET }, query: {}, body: JSON.stringify(body) });
  }

  /** One notification of an old listing, as a queue brings it. */
  async notify(action: string, customerIdentifier: string): Promise<void> {
    const message = { action, 'customer-identifier': customerIdentifier, 'product-code': PRODUCT };
    const [MessageId, Timestamp] = [randomUUID(), this.clock.now().toISOString()];
    const body = JSON.stringify({ Type: 'Notification', MessageId, TopicArn: 'arn:t', Message: JSON.stringify(message), Timestamp });
    await this.ops(async (tx) => {
      const told = { source: 'aws.sqs', naturalKey: MessageId, headers: {}, body, principal: 'a queue', contentType: 'application/json' };
      const { inboxId } = await this.p.inbox.receive(tx, told);
      await this.tasks.enqueue(tx, { lane: `inbox:${inboxId}`, handler: 'inbound.normalise', payload: { inboxId, marketplace: 'aws' } });
    });
  }

  async land(licenseId: string, accountId: string): Promise<string> {
    const field = 'x-amzn-marketplace-token';
    const opened = await openLanding(this.p, this.sealer, 'aws', field, { [field]: `${licenseId}/${accountId}` });
    if (!opened.ok) throw new Error(opened.code);
    return opened.sessionId;
  }

  async register(licenseId: string, accountId: string): Promise<void> {
    const sessionId = await this.land(licenseId, accountId);
    const details = { organisation: 'Winter & Co', region: 'here', contactName: 'Ada Winter', contactEmail: 'ada@winter.example' };
    await this.ops((tx) => this.p.landings.complete(tx, sessionId, details));
  }

  get(licenseId: string): Promise<SubscriptionRecord> {
    return this.ops((tx) => this.p.subscriptions.get(tx, subscriptionIdOf('aws', licenseId)));
  }

  /** Every five minutes in [from, to]: 4 MiB stored, a counter that grows by 1 MiB; as the placement's cell posts it. Time goes along. */
  async report(placementId: string, from: Date, to: Date, begun: Date): Promise<void> {
    const { clusterId } = await this.ops((tx) => this.engine.getPlacement(tx, placementId));
    const { name } = await this.ops((tx) => this.engine.getCluster(tx, clusterId));
    const source = `/cells/${name}`;
    for (let t = from.getTime(); t <= to.getTime(); t += 300_000) {
      await this.until(new Date(t));
      const value = BigInt((t - begun.getTime()) / 300_000) << 20n;
      const events = [
        sampleEvent(source, placementId, new Date(t), 4n << 20n),
        sampleEvent(source, placementId, new Date(t), value, { kind: 'counter' }),
        watermarkEvent(source, new Date(t)),
      ];
      const { results } = await this.metering.ingest({ kind: 'cell', keyId: 'k', clusterId: name }, events);
      const bad = results.find((r) => r.outcome !== 'accepted');
      if (bad) throw new Error(`not accepted: ${JSON.stringify(bad)}`);
    }
  }
}
