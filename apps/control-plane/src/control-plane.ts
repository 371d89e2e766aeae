import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { DATABASE, type Database, migrate, NestLogger, OffsetClock, TaskRunner, type BerthConfig, type Logger } from '#platform';
import { Keys } from '#tenancy';
import { Catalog } from '#entitlements';
import { ProvisioningEngine } from '#provisioning/engine';
import { Metering } from '#metering';
import { AppModule } from './app.module.js';
import { DRIVERS, type Drivers } from './drivers.js';
import { startServices } from './services.js';
import { configureHttp } from './http/support/configure-http.js';
import { DevClock } from './workers/dev-clock.js';
import { registerWorkers } from './workers/register-workers.js';
import { ensureFirstOperatorKey } from './first-operator.js';
import { RuntimeInfo } from './runtime-info.js';
import { ProcessContext } from './processes/context.js';
import { logBootChecks, startPulling } from './workers/pull-messages.js';

export interface Running {
  banner: Record<string, unknown>;
  stop(): Promise<void>;
}

/** Starts everything in order: services, schema, catalog, HTTP, clock, adoption of living cells, workers. */
export async function startControlPlane(config: BerthConfig, logger: Logger): Promise<Running> {
  const began = performance.now();
  const services = await startServices(config, logger);
  let app: NestFastifyApplication | undefined;
  try {
    await migrate({ adminUrl: services.adminUrl, secret: config.secret });
    const clock = new OffsetClock();
    const runtime = new RuntimeInfo(config, services.modes);
    app = await NestFactory.create<NestFastifyApplication>(
      AppModule.register({ config, logger, clock, services, runtime }),
      new FastifyAdapter({
        bodyLimit: 5 * 1024 * 1024 + 64 * 1024,
        trustProxy: config.trustedProxies.length > 0 && config.trustedProxies,
        forceCloseConnections: 'idle',
        routerOptions: { maxParamLength: 200 },
      }),
      { bodyParser: false, logger: new NestLogger(logger), abortOnError: false },
    );
    await configureHttp(app, logger);
    const db = app.get<Database>(DATABASE);
    await db.assertIsolation();
    const catalog = app.get(Catalog);
    await db.ops((tx) => catalog.load(tx, catalog.readFolder(config.catalogDir)));
    const devClock = config.sandboxUrl ? app.get(DevClock) : null;
    const runner = app.get(TaskRunner);
    let pulling: { stop(): Promise<void> } | undefined;
    // Before the first request: an event published without its subscribers would be lost.
    registerWorkers(app, runner, config);
    await app.listen(config.port, config.host);
    const address = app.getHttpServer().address() as { port: number };
    runtime.listening(`http://${config.host === '0.0.0.0' ? '127.0.0.1' : config.host}:${address.port}`);
    // Business time first: nothing may be stamped or closed with a clock that is about to jump.
    await devClock?.join(runtime.url);
    const operatorKey = await ensureFirstOperatorKey(db, app.get(Keys), config);
    if (config.role !== 'api') {
      // With the embedded database nobody else can be working: what a killed predecessor held is free at once.
      const soleProcess = config.role === 'all' && !config.databaseUrl;
      if (soleProcess) await Promise.all([runner.takeOver(), app.get(Metering).takeOver()]);
      await app.get(ProvisioningEngine).adoptAll({ soleProcess });
      await runner.start();
      pulling = await startPulling(app.get(ProcessContext), logger);
    }
    runtime.ready();
    if (config.role !== 'api') void logBootChecks(app.get(ProcessContext), logger);
    const startMs = Math.round(performance.now() - began);
    logger.info({ startMs, ...services.modes, role: config.role, url: runtime.url }, 'control plane is ready');
    const running = app;
    return {
      banner: { url: runtime.url, role: config.role, ...services.modes, startMs, operatorKeyFile: operatorKey.file },
      stop: async () => {
        runtime.stopping();
        await devClock?.leave();
        await pulling?.stop();
        await runner.stop();
        await running.get(ProvisioningEngine).stop();
        // After the workers: nothing may ask a cell to start again.
        if (config.stopCells) await running.get<Drivers>(DRIVERS).shutdown();
        await running.close();
        await db.close();
        await services.stop();
      },
    };
  } catch (error) {
    await app?.close().catch(() => undefined);
    await services.stop();
    throw error;
  }
}
