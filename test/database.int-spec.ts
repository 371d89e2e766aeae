import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from './support/database.js';

async function ask<T>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as T[];
  } finally {
    await client.end();
  }
}

describe('the test database', () => {
  let one: TestDatabase;
  let other: TestDatabase;
  beforeAll(async () => {
    [one, other] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  });
  afterAll(() => Promise.all([one.drop(), other.drop()]));

  it('has the migrated schema and a login for every role', async () => {
    for (const role of ['owner', 'tenant', 'ops', 'intake'] as const) {
      expect(await ask(one.url(role), 'select current_user as who, current_database() as db')).toEqual([
        { who: `berth_${role}`, db: one.name },
      ]);
    }
    const tables = await ask<{ n: number }>(one.url(), "select count(*)::int as n from pg_tables where schemaname = 'public'");
    expect(tables[0]?.n).toBeGreaterThan(2);
  });

  it('gives no serving role the right to make tables', async () => {
    await expect(ask(one.url('tenant'), 'create table mine (n int)')).rejects.toMatchObject({ code: '42501' });
  });

  it('is seen by nobody else', async () => {
    await ask(one.url(), 'create table only_here (n int)');
    await expect(ask(other.url(), 'select * from only_here')).rejects.toMatchObject({ code: '42P01' });
  });
});
