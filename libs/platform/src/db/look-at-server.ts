import pg from 'pg';
import { roleName, roleUrl } from './roles.js';

/** What is in a database that somebody calls empty: names of tables, views and sequences with their schema. */
export async function tablesIn(url: string): Promise<string[]> {
  const rows = await asked<{ name: string }>(
    url,
    `select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and not c.relispartition and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_' order by 1`,
  );
  return rows.map((r) => r.name);
}

/**
 * Whether `migrate` with this secret would leave the server's roles as they are. Roles belong to the whole server: other passwords
 * would lock out an installation that runs there. True also where there are none yet.
 */
export async function rolesAreOurs(url: string, secret: string): Promise<boolean> {
  const roles = await asked(url, 'select 1 from pg_roles where rolname = $1', [roleName('owner')]);
  if (roles.length === 0) return true;
  return asked(roleUrl(url, 'owner', secret), 'select 1').then(
    () => true,
    // The password was right, only this database is not granted to it yet.
    (error: { code?: string }) => error.code === '42501',
  );
}

async function asked<T>(url: string, sql: string, parameters: unknown[] = []): Promise<T[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  try {
    await client.connect();
    return (await client.query(sql, parameters)).rows as T[];
  } finally {
    await client.end().catch(() => undefined);
  }
}
