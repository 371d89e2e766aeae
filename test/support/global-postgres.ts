import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { migrate, startEmbeddedPostgres } from '#platform';
import type { TestProject } from 'vitest/node';

export const TEMPLATE_DATABASE = 'berth_template';

declare module 'vitest' {
  interface ProvidedContext {
    /** Superuser URL of the suite's server, and the secret from which the roles' passwords follow. */
    adminUrl: string;
    databaseSecret: string;
  }
}

/** One relaxed server for the suite, one migrated template; every test file copies the template (`createTestDatabase`). */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = fileURLToPath(new URL('../../.tmp/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  const server = await startEmbeddedPostgres({
    dataDir: join(folder, `postgres-${project.name}-${process.pid}`),
    durability: 'relaxed',
    maxConnections: 300,
  });
  try {
    const secret = randomBytes(32).toString('hex');
    const admin = new pg.Client({ connectionString: server.url });
    await admin.connect();
    await admin.query(`create database ${TEMPLATE_DATABASE}`);
    const url = new URL(server.url);
    url.pathname = `/${TEMPLATE_DATABASE}`;
    await migrate({ adminUrl: url.toString(), secret });
    // A copy needs a template without sessions: the migrations' own may still be closing.
    await admin.query(`alter database ${TEMPLATE_DATABASE} with allow_connections false`);
    await admin.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [TEMPLATE_DATABASE]);
    await admin.end();
    project.provide('adminUrl', server.url);
    project.provide('databaseSecret', secret);
  } catch (error) {
    await server.stop({ removeData: true });
    throw error;
  }
  return () => server.stop({ removeData: true });
}
