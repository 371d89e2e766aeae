import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { APP_GUARD, ModuleRef } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import {
  CALLS,
  Calls,
  CLOCK,
  DATABASE,
  Database,
  dataSourceOptions,
  GuardedHttp,
  hostsOf,
  INBOX,
  Inbox,
  METRICS,
  Metrics,
  Pressure,
  Sealer,
  SERVING_ROLES,
  TaskRunner,
  TASKS,
  Tasks,
  type BerthConfig,
  type Logger,
  type OffsetClock,
  type ServingRole,
} from '#platform';
import { EntraSignIn } from '#marketplaces/azure';
import { awsHosts, awsSettingsSchema } from '#marketplaces/aws';
import { MARKETPLACE_REGISTRY, MarketplaceRegistry } from '#marketplaces/core';
import { Audit, KeyChecks, Keys, Tenants } from '#tenancy';
import { Catalog, Changes, Claims, Landings, SubscriptionRecord, Subscriptions } from '#entitlements';
import { PgStateWire, StateDoor } from '#provisioning/drivers/terraform';
import { ProvisioningEngine } from '#provisioning/engine';
import { Metering } from '#metering';
import { makeAdapters } from './marketplaces.js';
import { DRIVERS, makeDrivers, type Drivers } from './drivers.js';
import { RuntimeInfo } from './runtime-info.js';
import type { Services } from './services.js';
import { AuthGuard } from './http/support/auth.guard.js';
import { CONTROLLERS } from './http/controllers.js';
import { DevClock } from './workers/dev-clock.js';
import { ManualWork } from '#provisioning/drivers/manual';
import { planGate } from './processes/plan-gate.js';
import { ProcessContext, EXPORT_GRACE_DAYS, SUCCESSOR_HOLD_MS } from './processes/context.js';

export const LOGGER = Symbol('berth.logger');

/** One role's TypeORM data source; only the platform knows the package. */
type Pool = ReturnType<Database['source']>;

export interface AppOptions {
  config: BerthConfig;
  logger: Logger;
  clock: OffsetClock;
  services: Services;
  runtime: RuntimeInfo;
}

/** The composition root: the only place where ports meet adapters. */
@Module({})
export class AppModule {
  static register(o: AppOptions): DynamicModule {
    return {
      module: AppModule,
      imports: SERVING_ROLES.map((role) =>
        TypeOrmModule.forRoot({
          name: role,
          ...dataSourceOptions(role, { adminUrl: o.services.adminUrl, secret: o.config.secret, entities: [SubscriptionRecord] }),
          retryAttempts: 0,
        }),
      ),
      controllers: CONTROLLERS,
      providers: providers(o),
    };
  }
}

function providers(o: AppOptions): Provider[] {
  const { config, logger, clock, runtime } = o;
  return [
    { provide: LOGGER, useValue: logger },
    { provide: CLOCK, useValue: clock },
    { provide: RuntimeInfo, useValue: runtime },
    { provide: METRICS, useFactory: () => new Metrics() },
    {
      provide: DATABASE,
      useFactory: (tenant: Pool, ops: Pool, intake: Pool) =>
        new Database({ tenant, ops, intake } satisfies Record<ServingRole, Pool>, { assertions: config.assertions }),
      inject: (['tenant', 'ops', 'intake'] as const).map((role) => getDataSourceToken(role)),
    },
    { provide: Sealer, useFactory: () => new Sealer(config.secret) },
    { provide: TASKS, useFactory: () => new Tasks(clock, o.services.nudger) },
    { provide: INBOX, useFactory: (db: Database) => new Inbox(db, clock), inject: [DATABASE] },
    { provide: CALLS, useFactory: (db: Database) => new Calls(db, clock), inject: [DATABASE] },
    {
      provide: GuardedHttp,
      useFactory: () =>
        new GuardedHttp({
          allow: [
            ...(config.aws ? awsHosts(awsSettingsSchema.parse(config.aws)) : []),
            ...hostsOf([
              config.azure?.apiUrl,
              config.azure?.authorityUrl,
              config.azure?.armUrl,
              config.gcp?.procurementUrl,
              config.gcp?.serviceControlUrl,
              config.gcp?.serviceManagementUrl,
              config.gcp?.signUpKeysUrl,
              config.gcp?.oidcKeysUrl,
              config.sandboxUrl ?? undefined,
            ]),
          ],
        }),
    },
    {
      provide: MARKETPLACE_REGISTRY,
      useFactory: (http: GuardedHttp) => new MarketplaceRegistry(makeAdapters(config, { http, clock, logger })),
      inject: [GuardedHttp],
    },
    { provide: Keys, useFactory: () => new Keys(clock) },
    { provide: KeyChecks, useFactory: (keys: Keys, db: Database) => new KeyChecks(keys, db), inject: [Keys, DATABASE] },
    { provide: Tenants, useFactory: (sealer: Sealer) => new Tenants(clock, sealer), inject: [Sealer] },
    { provide: Audit, useFactory: () => new Audit(clock) },
    { provide: Catalog, useFactory: () => new Catalog(clock) },
    {
      provide: Subscriptions,
      useFactory: (tasks: Tasks, catalog: Catalog) => new Subscriptions(clock, tasks, catalog),
      inject: [TASKS, Catalog],
    },
    {
      provide: Changes,
      useFactory: (catalog: Catalog, s: Subscriptions, engine: ProvisioningEngine) => new Changes(clock, catalog, s, planGate(engine)),
      inject: [Catalog, Subscriptions, ProvisioningEngine],
    },
    {
      provide: Landings,
      useFactory: (sealer: Sealer, s: Subscriptions, catalog: Catalog, tenants: Tenants, engine: ProvisioningEngine) =>
        new Landings(clock, sealer, s, catalog, tenants, config.landingAccess, planGate(engine)),
      inject: [Sealer, Subscriptions, Catalog, Tenants, ProvisioningEngine],
    },
    {
      provide: EntraSignIn,
      useFactory: (http: GuardedHttp) =>
        config.azure?.signIn ? new EntraSignIn({ authorityUrl: config.azure.authorityUrl, ...config.azure.signIn }, http) : null,
      inject: [GuardedHttp],
    },
    { provide: ManualWork, useFactory: () => new ManualWork(clock) },
    { provide: Claims, useFactory: (sealer: Sealer) => new Claims(clock, sealer), inject: [Sealer] },
    {
      provide: DRIVERS,
      // The engine needs its drivers and they ask it where usage goes: the question comes later, so it is looked up then.
      useFactory: (modules: ModuleRef, db: Database, sealer: Sealer) =>
        makeDrivers(config, {
          clock,
          db,
          sealer,
          logger,
          ownUrl: () => runtime.url,
          usageTarget: (ref) => modules.get(ProvisioningEngine, { strict: false }).usageTarget(ref),
        }),
      inject: [ModuleRef, DATABASE, Sealer],
    },
    {
      provide: StateDoor,
      useFactory: (db: Database, sealer: Sealer) => new StateDoor(new PgStateWire(db, sealer)),
      inject: [DATABASE, Sealer],
    },
    {
      provide: ProvisioningEngine,
      useFactory: (db: Database, tasks: Tasks, sealer: Sealer, keys: Keys, drivers: Drivers) => {
        const engine: ProvisioningEngine = new ProvisioningEngine({
          db,
          tasks,
          clock,
          sealer,
          logger,
          drivers: drivers.byName,
          ingestUrl: () => (runtime.isListening ? `${config.usageUrl ?? runtime.url}/api/v1/usage-events` : null),
          placementPolicy: {
            cellCapacity: config.cellCapacity,
            overcommitPercent: config.overcommitPercent,
            shapeDrivers: config.shapeDrivers,
          },
          // The key carries the cluster's name: drivers know a cluster by it, and a cell's events name it as their source.
          issueCellKey: async (tx, clusterId) =>
            (await keys.issue(tx, { kind: 'cell', name: (await engine.getCluster(tx, clusterId)).name, clusterId })).key,
          withdrawCellKey: (tx, clusterId) => keys.revokeCell(tx, clusterId),
        });
        return engine;
      },
      inject: [DATABASE, TASKS, Sealer, Keys, DRIVERS],
    },
    {
      provide: Metering,
      useFactory: (db: Database, tasks: Tasks, calls: Calls, marketplaces: MarketplaceRegistry, metrics: Metrics) =>
        new Metering({
          db,
          tasks,
          calls,
          clock,
          marketplaces,
          logger,
          metrics,
          options: { usageRates: config.usageRates, implausibleTimes: config.implausibleTimes, usageDaysKept: config.sampleDays },
        }),
      inject: [DATABASE, TASKS, CALLS, MARKETPLACE_REGISTRY, METRICS],
    },
    {
      provide: TaskRunner,
      useFactory: (db: Database, metering: Metering, pressure: Pressure) =>
        new TaskRunner(db, clock, o.services.nudger, logger, {
          pressure,
          onParked: (tx, task) => ProcessContext.raiseParked(tx, metering, task),
        }),
      inject: [DATABASE, Metering, Pressure],
    },
    { provide: SUCCESSOR_HOLD_MS, useValue: config.successorHoldMs },
    { provide: EXPORT_GRACE_DAYS, useValue: config.exportGraceDays },
    { provide: Pressure, useFactory: () => new Pressure() },
    ProcessContext,
    { provide: DevClock, useFactory: (runner: TaskRunner) => new DevClock(config, clock, runner, logger), inject: [TaskRunner] },
    { provide: APP_GUARD, useClass: AuthGuard },
  ];
}
