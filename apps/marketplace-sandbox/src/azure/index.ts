import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { BilledList } from '../shared/billed.js';
import type { CallsLog } from '../shared/calls-log.js';
import type { VirtualClock } from '../shared/clock.js';
import type { Faults } from '../shared/faults.js';
import { recordCalls } from '../shared/recorded-scope.js';
import type { Store } from '../shared/store.js';
import { authenticate, requireApiVersion } from './auth.js';
import type { AzureContext } from './context.js';
import { AzureDesk } from './desk.js';
import { Deliveries } from './deliveries.js';
import { EntraKeys } from './entra-keys.js';
import { entraRoutes } from './entra.routes.js';
import { AzureError, failureBody, unauthorized } from './errors.js';
import { fulfillmentRoutes } from './fulfillment.routes.js';
import { Lifecycle } from './lifecycle.js';
import { ManagedApps } from './managed-apps.js';
import { armRoutes } from './managed-apps.routes.js';
import { meteringRoutes } from './metering.routes.js';
import { Operations } from './operations.js';
import { operationRoutes } from './operations.routes.js';
import type { AzureSettings } from './settings.js';
import { SignIn } from './sign-in.js';
import { signInRoutes } from './sign-in.routes.js';
import { AzureState } from './state.js';
import { WebhookTokens } from './webhook-token.js';

export interface AzureParts {
  store: Store;
  clock: VirtualClock;
  calls: CallsLog;
  faults: Faults;
  billed: BilledList;
  settings: () => AzureSettings;
  /** Asks for prompt work outside the request that caused it. */
  kick: () => void;
}

/** Microsoft's side: Entra, fulfillment, metering, the webhook sender and the timers. */
export class AzureMarketplace {
  readonly desk: AzureDesk;
  readonly managedApps: ManagedApps;

  private constructor(
    private readonly parts: AzureParts,
    readonly keys: EntraKeys,
    private readonly context: AzureContext,
    private readonly operations: Operations,
    private readonly deliveries: Deliveries,
    private readonly lifecycle: Lifecycle,
    tokens: WebhookTokens,
  ) {
    this.desk = new AzureDesk(context, lifecycle, tokens);
    this.managedApps = new ManagedApps(context, parts.kick);
  }

  static async open(parts: AzureParts): Promise<AzureMarketplace> {
    const keys = await EntraKeys.open(parts.store);
    const context: AzureContext = {
      clock: parts.clock,
      faults: parts.faults,
      settings: parts.settings,
      state: new AzureState(parts.store),
    };
    const tokens = new WebhookTokens(keys, parts.settings);
    const operations = new Operations(context, (refused) => lifecycle.revert(refused));
    const deliveries = new Deliveries(context, tokens, operations);
    const lifecycle = new Lifecycle(context, operations, deliveries, parts.kick);
    parts.billed.addSource(() =>
      context.state.usage.values().map((usage) => ({
        marketplace: 'azure',
        externalId: usage.resourceId,
        planId: usage.planId,
        dimension: usage.dimension,
        hour: usage.hour,
        quantity: usage.quantity,
        receipt: usage.usageEventId,
        acceptedAt: usage.acceptedAt,
      })),
    );
    return new AzureMarketplace(parts, keys, context, operations, deliveries, lifecycle, tokens);
  }

  /** Everything that time has made due; waits for its deliveries. */
  async runDue(): Promise<boolean> {
    const moved = this.runTimers();
    const [sent, told] = await Promise.all([this.deliveries.runDue(), this.managedApps.runDue()]);
    return sent || told || moved;
  }

  /** The same without waiting. */
  tick(): void {
    this.runTimers();
    this.deliveries.start();
    this.managedApps.start();
  }

  private runTimers(): boolean {
    const accepted = this.operations.acceptSilent();
    return this.lifecycle.runTimers() || accepted;
  }

  register(app: FastifyInstance): void {
    const { calls, faults } = this.parts;
    void app.register(
      (scope, _options, done) => {
        recordCalls(scope, {
          marketplace: 'azure',
          calls,
          faults,
          failureBody: (status) => ({
            error: 'temporarily_unavailable',
            error_description: `AADSTS90033: A transient error has occurred (${status}).`,
            error_codes: [90033],
          }),
        });
        const signIn = new SignIn(this.parts.store, this.keys, this.parts.settings, () =>
          this.context.state.subscriptions.values().flatMap((one) => [one.beneficiary, one.purchaser]),
        );
        entraRoutes(scope, this.keys, this.parts.settings, signIn);
        signInRoutes(scope, signIn);
        done();
      },
      { prefix: '/azure/login' },
    );
    void app.register(
      (scope, _options, done) => {
        recordCalls(scope, {
          marketplace: 'azure',
          calls,
          faults,
          failureBody: (status) => ({ error: { code: 'ServerError', message: `HTTP ${status}` } }),
        });
        armRoutes(scope, this.managedApps, this.keys, this.parts.settings);
        done();
      },
      { prefix: '/azure/arm' },
    );
    void app.register(
      (scope, _options, done) => {
        this.apiScope(scope);
        done();
      },
      { prefix: '/azure/api' },
    );
  }

  private apiScope(scope: FastifyInstance): void {
    const { calls, faults, settings } = this.parts;
    scope.addHook('onRequest', (request, reply, done) => {
      // Absent ids are made by Microsoft and given back (contract azure §1).
      for (const name of ['x-ms-requestid', 'x-ms-correlationid']) reply.header(name, request.headers[name] ?? randomUUID());
      done();
    });
    const expiredToken = (): Error => unauthorized('The access token is expired.');
    recordCalls(scope, { marketplace: 'azure', calls, faults, failureBody, expiredToken });
    scope.addHook('preHandler', async (request) => {
      requireApiVersion(request);
      request.azureCaller = await authenticate(request, this.keys, settings());
    });
    scope.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
      const status = error.statusCode ?? 500;
      if (status >= 500 && !(error instanceof AzureError)) process.stderr.write(`marketplace-sandbox: ${error.stack ?? error.message}\n`);
      if (error instanceof AzureError) {
        const body = typeof error.body === 'string' ? JSON.stringify(error.body) : error.body;
        return reply.code(status).headers(error.headers).type('application/json; charset=utf-8').send(body);
      }
      return reply.code(status).send(status >= 500 ? failureBody(status) : { code: 'BadArgument', message: error.message });
    });
    scope.setNotFoundHandler((request, reply) =>
      reply.code(404).send({ message: `No HTTP resource was found that matches the request URI '${request.url}'.` }),
    );
    fulfillmentRoutes(scope, this.context, this.lifecycle);
    operationRoutes(scope, this.context, this.operations);
    meteringRoutes(scope, this.context);
  }
}
