import type { FastifyInstance } from 'fastify';
import type { BilledList } from '../shared/billed.js';
import type { CallsLog } from '../shared/calls-log.js';
import type { VirtualClock } from '../shared/clock.js';
import type { Faults } from '../shared/faults.js';
import { recordCalls } from '../shared/recorded-scope.js';
import type { Store } from '../shared/store.js';
import type { GcpContext } from './context.js';
import { GcpDesk } from './desk.js';
import { failureBody, GcpError, otherBody } from './errors.js';
import { GcpLifecycle } from './lifecycle.js';
import { Notifications } from './notifications.js';
import { procurementRoutes } from './procurement.routes.js';
import { Broker } from './pubsub/broker.js';
import { Pusher } from './pubsub/pusher.js';
import { PubsubServer } from './pubsub/server.js';
import { ServiceControl } from './service-control.js';
import { serviceControlRoutes } from './service-control.routes.js';
import { serviceManagementRoutes } from './service-management.routes.js';
import { type GcpSettings, subscriptionOf, topicOf } from './settings.js';
import { SignUp } from './sign-up.js';
import { SignUpKeys, SIGNER } from './sign-up-keys.js';
import { GcpState } from './state.js';

export interface GcpParts {
  store: Store;
  clock: VirtualClock;
  calls: CallsLog;
  faults: Faults;
  billed: BilledList;
  settings: () => GcpSettings;
  pubsubPort: number;
}

/** How long a step of the clock waits for connected subscribers to take what was published. */
const DRAIN_MS = 2000;
const LOOK_MS = 10;

/** Google's side: Procurement, Service Control, the sign-up keys, Pub/Sub and the timers. */
export class GcpMarketplace {
  readonly desk: GcpDesk;
  private readonly keys: SignUpKeys;
  private readonly context: GcpContext;
  private readonly broker: Broker;
  private readonly pubsub: PubsubServer;
  private readonly notifications: Notifications;
  private readonly lifecycle: GcpLifecycle;
  private readonly pusher: Pusher;
  private madeOidcKeys: SignUpKeys | undefined;

  constructor(private readonly parts: GcpParts) {
    const { store, clock, faults, settings } = parts;
    const state = new GcpState(store, clock);
    this.keys = new SignUpKeys(store);
    this.context = { clock, faults, settings, state };
    this.broker = new Broker(store);
    this.pubsub = new PubsubServer(this.broker, store, '127.0.0.1', settings);
    this.pusher = new Pusher(this.context, this.broker, () => this.oidcKeys);
    this.notifications = new Notifications(this.context, this.broker);
    this.lifecycle = new GcpLifecycle(this.context, this.notifications);
    this.desk = new GcpDesk(this.context, this.lifecycle, this.notifications, new SignUp(this.context, this.keys), this.keys, this.pusher);
    this.ensureSubscription();
    parts.billed.addSource(() =>
      state.usage.values().map((usage) => ({
        marketplace: 'gcp',
        externalId: usage.entitlementId,
        planId: usage.plan,
        dimension: usage.metric,
        hour: usage.hour,
        quantity: usage.quantity,
        receipt: usage.operationId,
        acceptedAt: usage.acceptedAt,
      })),
    );
  }

  /** Made when they are first needed: most runs pull. */
  private get oidcKeys(): SignUpKeys {
    this.madeOidcKeys ??= new SignUpKeys(this.parts.store, 'gcp.oidcKeys', 'federated-signon.system.gserviceaccount.com');
    return this.madeOidcKeys;
  }

  /** The publisher's subscription on Google's topic, as its console would have made them. */
  private ensureSubscription(): void {
    const [topic, name] = [topicOf(this.parts.settings()), subscriptionOf(this.parts.settings())];
    if (!this.broker.topics.has(topic)) this.broker.topics.put(topic, { name: topic });
    if (!this.broker.subscriptions.has(name)) this.broker.subscriptions.put(name, { name, topic, ackDeadlineSeconds: 10 });
  }

  /** Answers host:port of Pub/Sub. */
  listen(): Promise<string> {
    return this.pubsub.listen(this.parts.pubsubPort);
  }

  close(): void {
    this.pusher.close();
    this.pubsub.close();
  }

  /** Everything that time has made due; waits until connected subscribers have taken it. */
  async runDue(): Promise<boolean> {
    this.pusher.align();
    const moved = this.runTimers();
    const waited = this.broker.busy;
    const end = performance.now() + DRAIN_MS;
    while (this.broker.busy && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    return moved || (waited && !this.broker.busy);
  }

  /** The same without waiting. */
  tick(): void {
    this.pusher.align();
    this.runTimers();
  }

  private runTimers(): boolean {
    const moved = this.lifecycle.runTimers();
    return this.notifications.runDue() || moved;
  }

  register(app: FastifyInstance): void {
    const scopes: [string, (scope: FastifyInstance) => void][] = [
      ['/gcp/procurement', (scope) => procurementRoutes(scope, this.context, this.lifecycle)],
      ['/gcp/servicemanagement', (scope) => serviceManagementRoutes(scope, this.context)],
      ['/gcp/servicecontrol', (scope) => serviceControlRoutes(scope, this.context, new ServiceControl(this.context))],
    ];
    for (const [prefix, routes] of scopes) {
      void app.register(
        (scope, _options, done) => {
          this.apiScope(scope);
          scope.addHook('preHandler', (request, _reply, next) => {
            const bearer = /^Bearer \S+$/.test(request.headers.authorization ?? '');
            next(
              this.parts.settings().requireBearer && !bearer
                ? new GcpError('UNAUTHENTICATED', 'Request is missing required authentication credential.')
                : undefined,
            );
          });
          routes(scope);
          done();
        },
        { prefix },
      );
    }
    void app.register(
      (scope, _options, done) => {
        this.apiScope(scope);
        scope.get<{ Params: { form: string; signer: string } }>(
          '/robot/v1/metadata/:form/:signer',
          { config: { operation: 'keys' } },
          (request, reply) => {
            const { form, signer } = request.params;
            if (signer !== SIGNER || (form !== 'x509' && form !== 'jwk'))
              throw new GcpError('NOT_FOUND', 'Requested entity was not found.');
            reply.header('cache-control', `public, max-age=${this.parts.settings().keysMaxAgeSeconds}, must-revalidate, no-transform`);
            return form === 'x509' ? this.keys.certificates() : this.keys.jwks();
          },
        );
        scope.get('/oauth2/v1/certs', { config: { operation: 'oidcKeys' } }, (_request, reply) => {
          reply.header('cache-control', `public, max-age=${this.parts.settings().keysMaxAgeSeconds}, must-revalidate, no-transform`);
          return this.oidcKeys.certificates();
        });
        done();
      },
      { prefix: '/gcp' },
    );
  }

  private apiScope(scope: FastifyInstance): void {
    const { calls, faults } = this.parts;
    const expiredToken = (): Error =>
      new GcpError('UNAUTHENTICATED', 'Request had invalid authentication credentials. Expected OAuth 2 access token.');
    recordCalls(scope, { marketplace: 'gcp', calls, faults, failureBody, expiredToken });
    scope.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
      if (error instanceof GcpError) return reply.code(error.statusCode).send(error.body);
      const status = error.statusCode ?? 500;
      if (status >= 500) process.stderr.write(`marketplace-sandbox: ${error.stack ?? error.message}\n`);
      return reply.code(status).send(status >= 500 ? failureBody(status) : otherBody(status, error.message));
    });
    scope.setNotFoundHandler((_request, reply) => reply.code(404).send(otherBody(404, 'Method not found.')));
  }
}
