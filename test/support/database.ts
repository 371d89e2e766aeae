import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { roleUrl } from '#platform';
import { inject } from 'vitest';

export type TestDatabaseRole = 'owner' | 'tenant' | 'ops' | 'intake';

export interface TestDatabase {
  readonly name: string;
  /** The secret that the roles' passwords follow from; a process under test needs it. */
  readonly secret: string;
  /** The URL of a role; without one, the superuser's (set-up and looking behind the policies only). */
  url(role?: TestDatabaseRole): string;
  drop(): Promise<void>;
}

const TEMPLATE = 'berth_template';

/** A database of one's own with the migrated schema: the files of the suite's template, copied in some 30 ms where they lie in memory. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const adminUrl = inject('adminUrl');
  const secret = inject('databaseSecret');
  const name = `t_${process.pid}_${randomBytes(6).toString('hex')}`;
  await onServer(adminUrl, async (admin) => {
    await admin.query(`create database ${name} template ${TEMPLATE} strategy file_copy`);
    // A copy does not take over the rights on the database itself.
    await admin.query(`grant connect, create, temporary on database ${name} to berth_owner`);
    await admin.query(`grant connect on database ${name} to berth_tenant, berth_ops, berth_intake`);
  });
  const own = new URL(adminUrl);
  own.pathname = `/${name}`;
  return {
    name,
    secret,
    url: (role) => (role ? roleUrl(own.toString(), role, secret) : own.toString()),
    drop: () => onServer(adminUrl, async (admin) => void (await admin.query(`drop database if exists ${name} with (force)`))),
  };
}

async function onServer(adminUrl: string, work: (admin: pg.Client) => Promise<void>): Promise<void> {
  const admin = new pg.Client({ connectionString: adminUrl });
  await admin.connect();
  try {
    await work(admin);
  } finally {
    await admin.end();
  }
}
