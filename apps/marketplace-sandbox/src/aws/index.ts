import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { BilledList } from '../shared/billed.js';
import type { CallsLog } from '../shared/calls-log.js';
import type { VirtualClock } from '../shared/clock.js';
import type { Faults } from '../shared/faults.js';
import { recordCalls } from '../shared/recorded-scope.js';
import type { Store } from '../shared/store.js';
import { AwsChannels } from './channels/index.js';
import type { AwsContext } from './context.js';
import { Deliveries } from './deliveries.js';
import { AwsDesk } from './desk.js';
import { AwsError, errorText, expiredToken, failureText } from './errors.js';
import { Lifecycle } from './lifecycle.js';
import { CONTENT_TYPE, meteringRoutes, operationOf } from './metering.routes.js';
import type { AwsSettings } from './settings.js';
import { AwsState } from './state.js';

export interface AwsParts {
  store: Store;
  clock: VirtualClock;
  calls: CallsLog;
  faults: Faults;
  billed: BilledList;
  settings: () => AwsSettings;
  /** Of this process, once it listens. */
  baseUrl: () => string;
  /** Asks for prompt work outside the request that caused it. */
  kick: () => void;
}

/** AWS's side: the metering service, EventBridge with its API destination, and the timers. */
export class AwsMarketplace {
  readonly desk: AwsDesk;
  readonly channels: AwsChannels;
  private readonly context: AwsContext;
  private readonly deliveries: Deliveries;
  private readonly lifecycle: Lifecycle;

  constructor(private readonly parts: AwsParts) {
    this.context = { clock: parts.clock, faults: parts.faults, settings: parts.settings, state: new AwsState(parts.store) };
    this.deliveries = new Deliveries(this.context);
    this.lifecycle = new Lifecycle(this.context, this.deliveries, parts.kick);
    this.channels = new AwsChannels(this.context, parts.calls, this.deliveries, parts.baseUrl, parts.kick);
    this.desk = new AwsDesk(this.context, this.lifecycle, this.channels.entitlements);
    parts.billed.addSource(() =>
      this.context.state.usage.values().map((usage) => ({
        marketplace: 'aws',
        externalId: usage.licenseId,
        planId: '',
        dimension: usage.dimension,
        hour: usage.hour,
        quantity: usage.quantity,
        receipt: usage.meteringRecordId,
        acceptedAt: usage.acceptedAt,
      })),
    );
  }

  /** Everything that time has made due; waits for its deliveries. */
  async runDue(): Promise<boolean> {
    const moved = [this.lifecycle.runTimers(), this.channels.legacy.runTimers()].some(Boolean);
    return (await this.deliveries.runDue()) || moved;
  }

  /** The same without waiting. */
  tick(): void {
    this.lifecycle.runTimers();
    this.channels.legacy.runTimers();
    this.deliveries.start();
  }

  register(app: FastifyInstance): void {
    const { calls, faults } = this.parts;
    void app.register(
      (scope, _options, done) => {
        scope.addHook('onRequest', (_request, reply, next) => {
          reply.header('x-amzn-requestid', randomUUID()).type(CONTENT_TYPE);
          next();
        });
        recordCalls(scope, { marketplace: 'aws', calls, faults, failureBody: failureText, operationOf, throttleStatus: 400, expiredToken });
        scope.addHook('onSend', (_request, reply, payload, next) => {
          const type = reply.statusCode >= 400 && typeof payload === 'string' ? /^\{"__type":"([A-Za-z]+)"/.exec(payload)?.[1] : undefined;
          if (type) reply.header('x-amzn-errortype', type);
          next(null, payload);
        });
        scope.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
          if (error instanceof AwsError) return reply.code(error.statusCode).send(errorText(error.type, error.message));
          const status = error.statusCode ?? 500;
          if (status < 500) return reply.code(status).type(CONTENT_TYPE).send(errorText('SerializationException', error.message));
          process.stderr.write(`marketplace-sandbox: ${error.stack ?? error.message}\n`);
          return reply.code(500).send(failureText(500));
        });
        scope.setNotFoundHandler((_request, reply) =>
          reply.code(404).send(errorText('UnknownOperationException', 'The operation is not known.')),
        );
        meteringRoutes(scope, this.context, this.lifecycle, this.channels.roles);
        done();
      },
      { prefix: '/aws/metering' },
    );
    this.channels.register(app);
  }
}
