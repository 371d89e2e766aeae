import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { migrate, startEmbeddedPostgres } from '#platform';
import type { TestProject } from 'vitest/node';
import { leaveServerFolder, serverFolder } from './server-folder.js';

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
  const dataDir = serverFolder(project.name);
  const server = await startEmbeddedPostgres({
    dataDir,
    durability: 'relaxed',
    maxConnections: 300,
  });
  const stop = async (): Promise<void> => {
    await server.stop({ removeData: true });
    leaveServerFolder(dataDir);
  };
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
    await stop();
    throw error;
  }
  return stop;
}
