import formbody from '@fastify/formbody';
import Fastify, { type FastifyInstance } from 'fastify';
import { awsChannelRoutes } from './aws/channels/control.routes.js';
import { awsControlRoutes } from './aws/control.routes.js';
import { AwsMarketplace } from './aws/index.js';
import { azureControlRoutes } from './azure/control.routes.js';
import { managedControlRoutes } from './azure/managed-apps.routes.js';
import { AzureMarketplace } from './azure/index.js';
import { randomSeed, type SandboxConfig } from './config.js';
import { gcpControlRoutes } from './gcp/control.routes.js';
import { GcpMarketplace } from './gcp/index.js';
import { BilledList } from './shared/billed.js';
import { CallsLog } from './shared/calls-log.js';
import { VirtualClock } from './shared/clock.js';
import { ClockAdvancer } from './shared/clock-advance.js';
import { clockRoutes } from './shared/clock.routes.js';
import { controlRoutes } from './shared/control.routes.js';
import { Faults } from './shared/faults.js';
import { describeRoutes } from './shared/openapi.js';
import { acceptJson, answerControlErrors, refuseForeignPages } from './shared/http.js';
import { Settings } from './shared/settings.js';
import { Store } from './shared/store.js';
import { storefrontRoutes } from './storefront/storefront.routes.js';

export interface Sandbox {
  readonly app: FastifyInstance;
  /** Of faults with a rate and no seed of their own. */
  readonly seed: string;
  listen(): Promise<string>;
  /** host:port of Pub/Sub, once it listens. */
  pubsubHost(): string | undefined;
  close(): Promise<void>;
}

/** How soon a webhook goes out in real time, and how often timers are looked at. */
const TICK_MS = 100;

export interface SandboxOptions {
  settleLimitMs?: number;
}

export async function buildSandbox(config: SandboxConfig, options: SandboxOptions = {}): Promise<Sandbox> {
  const store = new Store(config.dataFolder);
  const settings = new Settings(config.settingsPath, store);
  const clock = new VirtualClock(store);
  const calls = new CallsLog(store, clock);
  const faults = new Faults(store, config.seed ?? randomSeed());
  const billed = new BilledList();
  const runDue = async (): Promise<boolean> => (await Promise.all([azure.runDue(), aws.runDue(), gcp?.runDue()])).some(Boolean);
  const advancer: ClockAdvancer = new ClockAdvancer(clock, store, runDue, options.settleLimitMs);

  // While the clock is moved, due work is done in its rounds only, so that a step ends with all of it done.
  const tick = (): void => {
    if (advancer.advancing) return;
    azure.tick();
    aws.tick();
    gcp?.tick();
  };
  const azure = await AzureMarketplace.open({
    store,
    clock,
    calls,
    faults,
    billed,
    settings: () => settings.current.azure,
    kick: () => setImmediate(tick),
  });
  let baseUrl = `http://${config.host}:${config.port}`;
  const aws = new AwsMarketplace({
    store,
    clock,
    calls,
    faults,
    billed,
    settings: () => settings.current.aws,
    baseUrl: () => baseUrl,
    kick: () => setImmediate(tick),
  });

  // Only when the settings name a Google listing.
  const listed = settings.current.gcp;
  const gcp =
    listed &&
    new GcpMarketplace({
      store,
      clock,
      calls,
      faults,
      billed,
      settings: () => settings.current.gcp ?? listed,
      pubsubPort: config.pubsubPort ?? 0,
    });
  let pubsubHost: string | undefined;

  const app = Fastify({ routerOptions: { ignoreTrailingSlash: true, maxParamLength: 500 }, forceCloseConnections: true });
  acceptJson(app);
  answerControlErrors(app);
  refuseForeignPages(app);
  await app.register(formbody);
  describeRoutes(app);
  clockRoutes(app, clock, advancer);
  controlRoutes(app, { settings, billed, calls, faults, pubsubHost: () => pubsubHost });
  await app.register(
    (scope, _options, done) => {
      azureControlRoutes(scope, azure.desk, azure.keys);
      managedControlRoutes(scope, azure.managedApps);
      done();
    },
    { prefix: '/sandbox/azure' },
  );
  await app.register(
    (scope, _options, done) => {
      awsControlRoutes(scope, aws.desk);
      awsChannelRoutes(scope, aws.channels);
      done();
    },
    { prefix: '/sandbox/aws' },
  );
  if (gcp) {
    await app.register(
      (scope, _options, done) => {
        gcpControlRoutes(scope, gcp.desk);
        done();
      },
      { prefix: '/sandbox/gcp' },
    );
  }
  storefrontRoutes(app, {
    desk: azure.desk,
    managedApps: azure.managedApps,
    aws: aws.desk,
    gcp: gcp?.desk,
    settings,
    billed,
    faults,
    clock,
    advancer,
  });
  azure.register(app);
  aws.register(app);
  gcp?.register(app);

  let timer: NodeJS.Timeout | undefined;
  return {
    app,
    seed: faults.seed,
    pubsubHost: () => pubsubHost,
    async listen() {
      pubsubHost = await gcp?.listen();
      const url = await app.listen({ host: config.host, port: config.port });
      baseUrl = url;
      timer = setInterval(tick, TICK_MS);
      return url;
    },
    async close() {
      clearInterval(timer);
      gcp?.close();
      await app.close();
      store.close();
    },
  };
}
