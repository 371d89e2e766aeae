import pg from 'pg';
import { DataSource } from 'typeorm';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { migrate, roleUrl, sqlMigrations } from '#platform';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { insertOf, relaxForInvention, tenantTables } from './invented-rows.js';

const ALL = sqlMigrations().length;

describe('migrations', () => {
  const made: TestDatabase[] = [];
  afterEach(async () => {
    for (const base of made.splice(0)) await base.drop();
  });
  const database = async (): Promise<TestDatabase> => {
    const base = await createTestDatabase();
    made.push(base);
    return base;
  };
  const ask = async <T extends object>(url: string, sql: string): Promise<T[]> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query<T>(sql)).rows;
    } finally {
      await client.end();
    }
  };
  /** Tables, columns, constraints, indexes, policies and grants, as text. */
  const schema = async (url: string): Promise<string> =>
    JSON.stringify(
      await ask(
        url,
        `
        select c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, (select array_agg(a::text order by a::text) from unnest(c.relacl) a) as acl,
               (select json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attacl::text) order by a.attnum) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
               (select json_agg(pg_get_constraintdef(k.oid) order by pg_get_constraintdef(k.oid)) from pg_constraint k where k.conrelid = c.oid) as constraints,
               (select json_agg(pg_get_indexdef(i.indexrelid) order by pg_get_indexdef(i.indexrelid)) from pg_index i where i.indrelid = c.oid) as indexes,
               (select json_agg(json_build_array(p.polname, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) order by p.polname) from pg_policy p where p.polrelid = c.oid) as policies
          from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v') order by 1`,
      ),
    );
  /** The database's history as far as its first `n` migrations. */
  const history = async (base: TestDatabase, n: number, work: (source: DataSource) => Promise<void>): Promise<void> => {
    const source = await new DataSource({
      type: 'postgres',
      url: roleUrl(base.url(), 'owner', base.secret),
      migrations: sqlMigrations().slice(0, n),
    }).initialize();
    await work(source).finally(() => source.destroy());
  };
  const undo = (base: TestDatabase, steps: number): Promise<void> =>
    history(base, ALL, async (source) => {
      for (let i = 0; i < steps; i++) await source.undoLastMigration({ transaction: 'each' });
    });

  it('run again change nothing', async () => {
    const base = await database();
    const before = await schema(base.url());
    await migrate({ adminUrl: base.url(), secret: base.secret });
    expect(await schema(base.url())).toBe(before);
    expect(await ask(base.url(), 'select 1 from migrations')).toHaveLength(ALL);
  });

  it('run by three starters at once on an empty database each happen once', async () => {
    const base = await database();
    await undo(base, ALL);
    await ask(base.url(), 'truncate migrations');
    await Promise.all([1, 2, 3].map(() => migrate({ adminUrl: base.url(), secret: base.secret })));
    expect(await ask(base.url(), 'select 1 from migrations')).toHaveLength(ALL);
  });

  it('run at once on two databases of one server, which share the roles', async () => {
    const [a, b] = [await database(), await database()];
    await Promise.all([a, b].map((base) => migrate({ adminUrl: base.url(), secret: inject('databaseSecret') })));
  });

  it('go down one by one and up again, each step on a filled database, and end in the same schema', async () => {
    const base = await database();
    const before = await schema(base.url());
    const relaxed = await database();
    await fill(relaxed);
    // Each down, up, and down again, with what came before it; then all the way up.
    for (let n = ALL; n > 0; n--)
      await history(base, n, async (source) => {
        await source.undoLastMigration({ transaction: 'each' });
        await source.runMigrations({ transaction: 'each' });
        await source.undoLastMigration({ transaction: 'each' });
      });
    await migrate({ adminUrl: base.url(), secret: base.secret });
    expect(await schema(base.url())).toBe(before);
    await undo(relaxed, ALL);
    expect(
      await ask(
        relaxed.url(),
        `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition`,
      ),
    ).toEqual([{ relname: 'migrations' }]);
    await migrate({ adminUrl: relaxed.url(), secret: relaxed.secret });
    expect(await schema(relaxed.url())).toBe(before);
  });

  async function fill(base: TestDatabase): Promise<void> {
    const admin = new pg.Client({ connectionString: base.url() });
    await admin.connect();
    try {
      await relaxForInvention(admin);
      for (const table of await tenantTables(admin)) {
        const { sql, values } = insertOf(table, '01890000-0000-7000-8000-000000000001');
        await admin.query(sql, values);
      }
      // Made by the owner's migrations in a real installation, so that the owner may drop them.
      await admin.query(`do $$ declare r record; begin
        for r in select relname from pg_class where relnamespace = 'public'::regnamespace and relispartition and relkind = 'r' loop execute format('alter table %I owner to berth_owner', r.relname); end loop;
      end $$`);
    } finally {
      await admin.end();
    }
  }

  it('have a way back each', () => {
    expect(sqlMigrations().map((M) => new M().name)).toEqual([...new Set(sqlMigrations().map((M) => new M().name))]);
    for (const M of sqlMigrations()) expect(new M().name).toMatch(/^[a-z0-9_]+1\d{12}$/);
  });
});
