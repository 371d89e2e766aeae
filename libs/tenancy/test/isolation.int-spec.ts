import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, type Database, type Tx } from '#platform';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { insertOf, relaxForInvention, tenantTables, type TenantTable } from './invented-rows.js';

const SERVING = ['berth_tenant', 'berth_ops', 'berth_intake'];
const PRIVILEGES = ['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger'];

/** What `tenant` and `intake` may do with tables that have no tenant. A new entry needs as good a reason as these. */
const GLOBAL_GRANTS = [
  'berth_intake may select plan_versions', // the catalog is public among tenants
  'berth_tenant may select plan_versions',
  'berth_tenant may select listing_emissions', // how a listing is sent, by which a tenant's explanation closes the hour again
  'berth_intake may insert usage_sources', // watermarks of the cells themselves
  'berth_intake may select usage_sources',
  'berth_intake may update usage_sources',
  'berth_intake may insert usage_watermarks', // those that wait for a missing batch of their source
  'berth_intake may select usage_watermarks',
  'berth_intake may delete usage_watermarks',
  'berth_intake may insert usage_numbers', // numbers of a source's events, without the events
  'berth_intake may select usage_numbers',
  'berth_intake may delete usage_numbers',
  'berth_intake may insert usage_uplinks', // who reports an hour of a source
  'berth_intake may select usage_uplinks',
];

describe('isolation by the database', () => {
  let base: TestDatabase;
  let db: Database;
  let admin: pg.Client;
  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret });
    admin = new pg.Client({ connectionString: base.url() });
    await admin.connect();
  });
  afterAll(async () => {
    await admin?.end();
    await db?.close();
    await base?.drop();
  });

  const names = async (sql: string, values: unknown[] = []): Promise<string[]> =>
    (await admin.query<{ name: string }>(sql, values)).rows.map((r) => r.name);

  describe('as it is declared', () => {
    it('lets every table have a tenant or stand in the list of global tables with a reason, never both', async () => {
      const wrong = await names(`
        select c.relname || case when has then ' has a tenant and is listed as global' else ' has no tenant and is not listed' end as name
          from (select c.*, exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped) as has from pg_class c) c
          left join global_tables g on g.table_name = c.relname
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and has = (g.table_name is not null)`);
      expect(wrong).toEqual([]);
      expect(
        await names(
          `select table_name as name from global_tables where length(trim(reason)) < 8 or to_regclass('public.' || table_name) is null`,
        ),
      ).toEqual([]);
    });

    it('forces row-level security on every table with a tenant, and has a policy for the tenant role', async () => {
      const wrong = await names(`
        select c.relname || ': ' || case when not c.relrowsecurity then 'not enabled' when not c.relforcerowsecurity then 'not forced' else 'no policy for berth_tenant' end as name
          from pg_class c
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
           and exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
           and not (c.relrowsecurity and c.relforcerowsecurity
                and exists (select 1 from pg_policy p where p.polrelid = c.oid and p.polroles = array['berth_tenant'::regrole::oid]))`);
      expect(wrong).toEqual([]);
    });

    it('gives no policy to everybody, and lets only ops look over all tenants', async () => {
      expect(await names(`select polrelid::regclass || '.' || polname as name from pg_policy where 0 = any(polroles)`)).toEqual([]);
      expect(
        await names(`select polrelid::regclass || '.' || polname as name from pg_policy
                      where 'berth_ops'::regrole <> all(polroles) and coalesce(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) not like '%tenant_id%app_tenant_id%'`),
      ).toEqual([]);
    });

    it('reads the context once for a statement, not once for a row', async () => {
      expect(
        await names(`select tablename || '.' || policyname as name from pg_policies
                      where coalesce(qual, '') || coalesce(with_check, '') ~ '(?<!SELECT )app_tenant_ids?\\('`),
      ).toEqual([]);
    });

    it("gives the serving roles nothing on a partition: its parent's policies would not hold there", async () => {
      const granted = await names(
        `select r.name || ' may ' || p.name || ' ' || c.relname as name
           from pg_class c, unnest($1::text[]) as r(name), unnest($2::text[]) as p(name)
          where c.relispartition and c.relkind in ('r', 'p') and has_table_privilege(r.name, c.oid, p.name)`,
        [SERVING, PRIVILEGES],
      );
      expect(granted).toEqual([]);
      expect(await names(`select relname as name from pg_class where relispartition and relkind = 'r' limit 1`)).toHaveLength(1);
    });

    it('lets every view look with the rights of its reader', async () => {
      const wrong = await names(`select relname as name from pg_class where relnamespace = 'public'::regnamespace
        and (relkind = 'm' or (relkind = 'v' and not coalesce('security_invoker=true' = any(reloptions) or 'security_invoker=on' = any(reloptions), false)))`);
      expect(wrong).toEqual([]);
    });

    it('gives the tenant role no function that runs with the rights of its owner', async () => {
      expect(
        await names(
          `select proname as name from pg_proc where pronamespace = 'public'::regnamespace and prosecdef and has_function_privilege('berth_tenant', oid, 'execute')`,
        ),
      ).toEqual([]);
    });

    it('gives tenant and intake of the global tables what is written here, and no more', async () => {
      const granted = await names(
        `select r.name || ' may ' || p.name || ' ' || g.table_name as name
           from global_tables g, unnest(array['berth_tenant', 'berth_intake']) as r(name), unnest($1::text[]) as p(name)
          where has_table_privilege(r.name, ('public.' || g.table_name)::regclass, p.name)`,
        [PRIVILEGES],
      );
      expect(granted.filter((grant) => !GLOBAL_GRANTS.includes(grant))).toEqual([]);
    });

    it('lets no serving role make tables, own one or go round the policies', async () => {
      expect(
        await names(`select r as name from unnest($1::text[]) r where has_schema_privilege(r, 'public', 'create')`, [SERVING]),
      ).toEqual([]);
      expect(
        await names(
          `select rolname as name from pg_roles where rolname = any($1) and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)`,
          [SERVING],
        ),
      ).toEqual([]);
      expect(
        await names(`select m.roleid::regrole::text as name from pg_auth_members m where m.member::regrole::text = any($1)`, [SERVING]),
      ).toEqual([]);
      await expect(db.assertIsolation()).resolves.toBeUndefined();
    });
  });

  describe('as it works', () => {
    const [A, B, C] = [randomUUID(), randomUUID(), randomUUID()] as const;
    let tables: TenantTable[];
    beforeAll(async () => {
      await relaxForInvention(admin);
      tables = await tenantTables(admin);
      for (const table of tables) {
        for (const tenantId of [A, B, C]) {
          const { sql, values } = insertOf(table, tenantId);
          const { rows } = await admin.query<{ may: boolean }>(`select has_table_privilege('berth_ops', $1, 'insert') as may`, [
            table.name,
          ]);
          if (rows[0]!.may) await db.ops((tx) => tx.query(sql, values));
          else await admin.query(sql, values);
        }
      }
    });

    const fingerprint = async (): Promise<string[]> => {
      const prints: string[] = [];
      for (const { name } of tables) {
        const { rows } = await admin.query<{ print: string }>(
          `select md5(string_agg(t::text, '|' order by t::text)) as print from ${name} t where tenant_id <> $1`,
          [A],
        );
        prints.push(`${name} ${rows[0]!.print}`);
      }
      return prints;
    };
    type Run = <T>(work: (tx: Tx) => Promise<T>) => Promise<T>;
    /** `denied` without the privilege, else what the statement gave back. */
    const attempt = async (run: Run, sql: string, values: unknown[]): Promise<unknown[] | 'denied'> => {
      try {
        return await run((tx) => tx.query(sql, values));
      } catch (error) {
        if (/permission denied|violates row-level security/.test((error as Error).message)) return 'denied';
        throw error;
      }
    };
    /** A column the role may read; a statement that names no other needs no more rights. */
    const readable = async (role: string, table: string): Promise<string | undefined> =>
      (
        await names(
          `select attname as name from pg_attribute where attrelid = $2::regclass and attnum > 0 and not attisdropped and has_column_privilege($1, attrelid, attnum, 'select')
                     order by attname <> 'tenant_id' limit 1`,
          [role, `public.${table}`],
        )
      )[0];

    /** Whatever is tried on B's rows of every table comes to nothing. Answers in which tables own rows were seen. */
    const tryAll = async (role: string, run: Run, own: string[]): Promise<string[]> => {
      const seen: string[] = [];
      const wrong: string[] = [];
      for (const table of tables) {
        const { name } = table;
        const column = await readable(role, name);
        if (!column) {
          if ((await attempt(run, `select 1 from ${name}`, [])) !== 'denied') wrong.push(`${name}: read without a right`);
        } else {
          expect(column, `${name}: a role that reads rows must be able to read whose they are`).toBe('tenant_id');
          const rows = (await attempt(run, `select tenant_id from ${name}`, [])) as { tenant_id: string }[];
          if (rows.some((r) => !own.includes(r.tenant_id))) wrong.push(`${name}: read another's row`);
          if (own.every((id) => rows.some((r) => r.tenant_id === id))) seen.push(name);
        }
        const insert = insertOf(table, B);
        if ((await attempt(run, insert.sql, insert.values)) !== 'denied') wrong.push(`${name}: inserted for another`);
        for (const sql of [
          `update ${name} set tenant_id = tenant_id where tenant_id = $1 returning 1`,
          `delete from ${name} where tenant_id = $1 returning 1`,
        ]) {
          const result = await attempt(run, sql, [B]);
          if (result !== 'denied' && result.length > 0) wrong.push(`${name}: ${sql.slice(0, 6)}d another's row`);
        }
        const stolen = await attempt(run, `update ${name} set tenant_id = $1 where tenant_id = $2 returning 1`, [B, A]);
        if (stolen !== 'denied' && stolen.length > 0) wrong.push(`${name}: gave its own row to another`);
      }
      expect(wrong).toEqual([]);
      return seen;
    };

    it('has invented rows of three tenants in every table, which ops sees', async () => {
      expect(tables.length).toBeGreaterThanOrEqual(12);
      for (const { name } of tables) {
        const { rows } = await admin.query<{ n: number }>(
          `select count(distinct tenant_id)::int as n from ${name} where tenant_id in ($1, $2, $3)`,
          [A, B, C],
        );
        expect(`${name} ${rows[0]!.n}`).toBe(`${name} 3`);
      }
    });

    it('lets a tenant read its own rows and read, insert, change and delete nothing of another', async () => {
      const before = await fingerprint();
      const seen = await tryAll('berth_tenant', (work) => db.tenant(A, work), [A]);
      expect(seen).toEqual(expect.arrayContaining(['tenants', 'subscriptions', 'segments', 'entitlements', 'quotas', 'audit_events']));
      expect(await fingerprint()).toEqual(before);
    });

    it('lets intake see the tenants of its request and no other', async () => {
      const before = await fingerprint();
      const seen = await tryAll('berth_intake', (work) => db.intake([A, C], work), [A, C]);
      expect(seen).toEqual(expect.arrayContaining(['usage_bindings', 'usage_events', 'usage_dedupe']));
      expect(await fingerprint()).toEqual(before);
    });

    it('shows nothing at all without a context', async () => {
      for (const { name } of tables) {
        for (const [role, run] of [
          ['berth_tenant', (w) => db.tenant('', w)],
          ['berth_intake', (w) => db.intake([], w)],
        ] as [string, Run][]) {
          const column = await readable(role, name);
          if (column) expect(await attempt(run, `select ${column} from ${name}`, []), `${role} ${name}`).toEqual([]);
        }
      }
    });

    it('rests on the policies: granted everything by mistake, both roles still get nothing of another', async () => {
      await admin.query('grant all on all tables in schema public to berth_tenant, berth_intake');
      const before = await fingerprint();
      await tryAll('berth_tenant', (work) => db.tenant(A, work), [A]);
      await tryAll('berth_intake', (work) => db.intake([A], work), [A]);
      expect(await fingerprint()).toEqual(before);
    });
  });
});
