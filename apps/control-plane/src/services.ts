import { join } from 'node:path';
import {
  BullNudger,
  PgNudger,
  roleUrl,
  startEmbeddedPostgres,
  startEmbeddedRedis,
  type BerthConfig,
  type Logger,
  type Nudger,
} from '#platform';

export interface Services {
  adminUrl: string;
  nudger: Nudger;
  /** For the banner and `/readyz`. */
  modes: { database: 'embedded' | 'external'; queue: 'bull on REDIS_URL' | 'bull on a private redis-server' | 'poller alone' };
  stop(): Promise<void>;
}

/** Postgres and Redis: given by URL, or started here (the embedded default). Redis is optional: the poller needs none. */
export async function startServices(config: BerthConfig, logger: Logger): Promise<Services> {
  const stops: (() => Promise<void>)[] = [];
  let adminUrl = config.databaseUrl;
  if (!adminUrl) {
    const postgres = await startEmbeddedPostgres({
      dataDir: join(config.dataDir, 'postgres'),
      durability: config.relaxedDurability ? 'relaxed' : 'full',
      detached: true,
    });
    adminUrl = postgres.url;
    stops.push(() => postgres.stop());
  }
  let redisUrl = config.redisUrl;
  let queue: Services['modes']['queue'] = 'bull on REDIS_URL';
  if (!redisUrl && config.redisAuto) {
    const redis = await startEmbeddedRedis({ dataDir: join(config.dataDir, 'redis') });
    if (redis) {
      redisUrl = redis.url;
      queue = 'bull on a private redis-server';
      stops.push(() => redis.stop());
    }
  }
  // Without Redis no client of it is ever made: a fallback that dials localhost for ever is a known trap.
  const nudger: Nudger = redisUrl ? new BullNudger(redisUrl, logger) : new PgNudger(roleUrl(adminUrl, 'ops', config.secret), logger);
  return {
    adminUrl,
    nudger,
    modes: { database: config.databaseUrl ? 'external' : 'embedded', queue: redisUrl ? queue : 'poller alone' },
    stop: async () => {
      for (const stop of stops.reverse())
        await stop().catch((error: unknown) => logger.warn({ err: String(error) }, 'a service did not stop cleanly'));
    },
  };
}
