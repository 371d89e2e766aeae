import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { Database, dataSourceOptions, openDatabase, type Tx } from './database.js';
import type { ServingRole } from './roles.js';

describe('the database', () => {
  let base: TestDatabase;
  let db: Database;
  const sources: DataSource[] = [];
  beforeAll(async () => {
    base = await createTestDatabase();
    // One connection per role: every borrower gets the one that the last borrower gave back.
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret, poolSize: 1 });
  });
  afterAll(async () => {
    for (const source of sources) await source.destroy();
    await db?.close();
    await base?.drop();
  });

  const context = async (tx: Pick<Tx, 'query'>): Promise<{ tenant: string | null; tenants: string; pid: number }> =>
    (
      await tx.query<{ tenant: string | null; tenants: string; pid: number }>(
        `select app_tenant_id() as tenant, app_tenant_ids()::text as tenants, pg_backend_pid() as pid`,
      )
    )[0]!;
  /** Another borrower of the same pool, who sets no context. */
  const bare = async (role: ServingRole): Promise<{ tenant: string | null; tenants: string; pid: number }> =>
    (
      await db
        .source(role)
        .query<{ tenant: string | null; tenants: string; pid: number }[]>(
          `select app_tenant_id() as tenant, app_tenant_ids()::text as tenants, pg_backend_pid() as pid`,
        )
    )[0]!;

  it('runs each transaction under its own role', async () => {
    const role = async (tx: Tx): Promise<string> => (await tx.query<{ role: string }>('select current_user::text as role'))[0]!.role;
    expect([await db.ops(role), await db.tenant(randomUUID(), role), await db.intake([], role)]).toEqual([
      'berth_ops',
      'berth_tenant',
      'berth_intake',
    ]);
  });

  it('never hands a context on to the next borrower of a connection, committed or rolled back', async () => {
    const [a, b] = [randomUUID(), randomUUID()];
    const first = await db.tenant(a, context);
    expect(first.tenant).toBe(a);
    expect(await bare('tenant')).toEqual({ tenant: null, tenants: '{}', pid: first.pid });
    await expect(
      db.tenant(a, async (tx) => {
        await tx.query('select 1/0');
      }),
    ).rejects.toThrow(/division by zero/);
    expect(await bare('tenant')).toEqual({ tenant: null, tenants: '{}', pid: first.pid });
    expect(await db.tenant(b, context)).toEqual({ tenant: b, tenants: '{}', pid: first.pid });

    const intake = await db.intake([a, b], context);
    expect(intake.tenants).toBe(`{${a},${b}}`);
    expect(await bare('intake')).toEqual({ tenant: null, tenants: '{}', pid: intake.pid });
  });

  it('does not take a tenant for text that is none', async () => {
    // The context is read with the first row that there might be.
    await db.ops((tx) =>
      tx.query(
        `insert into usage_bindings (placement_id, tenant_id, subscription_id, source, valid_from) values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), '/a', now())`,
      ),
    );
    await expect(db.tenant(`${randomUUID()}' or true --`, (tx) => tx.query('select * from usage_bindings'))).rejects.toThrow(
      /invalid input syntax for type uuid/,
    );
    await expect(db.intake([`${randomUUID()},x`], (tx) => tx.query('select * from usage_bindings'))).rejects.toThrow(
      /invalid input syntax/,
    );
  });

  it('rolls everything back when the work throws, and runs no action that waits for the commit', async () => {
    const ran: string[] = [];
    const insert = `insert into tasks (task_id, lane, handler, payload_ref, next_run_at, created_at) values (gen_random_uuid(), 'db', 'none', '{}', now(), now())`;
    await expect(
      db.ops(async (tx) => {
        tx.afterCommit(() => void ran.push('rolled back'));
        await tx.query(insert);
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await db.ops(async (tx) => {
      tx.afterCommit(() => void ran.push('committed'));
      await tx.query(insert);
      expect(ran).toEqual([]);
    });
    expect(ran).toEqual(['committed']);
    expect(await db.ops((tx) => tx.query(`select 1 from tasks where lane = 'db'`))).toHaveLength(1);
  });

  describe('whose server ends a connection', () => {
    const away = { kind: 'unavailable', code: 'database.unavailable' };
    const end = async (pid: unknown): Promise<void> => {
      const admin = new pg.Client({ connectionString: base.url() });
      await admin.connect();
      await admin.query('select pg_terminate_backend($1::int, 5000)', [pid]);
      await admin.end();
    };
    const pidOf = async (tx: Pick<Tx, 'query'>): Promise<number> =>
      (await tx.query<{ pid: number }>('select pg_backend_pid() as pid'))[0]!.pid;

    it('between two statements of intake says so to its caller, not to the process, and goes on with another', async () => {
      const uncaught: Error[] = [];
      const note = (error: Error): void => void uncaught.push(error);
      process.prependListener('uncaughtException', note);
      const work = db.intakeNamed([], null, async (tx) => {
        await end(await pidOf(tx));
        // What the end of the connection tells comes with the next turns of the event loop.
        for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
        await pidOf(tx);
      });
      await expect(work).rejects.toMatchObject(away);
      process.off('uncaughtException', note);
      expect(uncaught).toEqual([]);
      expect(await db.intakeNamed([], null, pidOf)).toBeGreaterThan(0);
    });

    it('in a transaction, or while a statement runs, says so too', async () => {
      await expect(db.ops(async (tx) => (await end(await pidOf(tx)), pidOf(tx)))).rejects.toMatchObject(away);
      const [{ pid }] = (await db.opsStatement<{ pid: number }>('pid', 'select pg_backend_pid() as pid', [])) as [{ pid: number }];
      const long = expect(db.opsStatement('long', 'select pg_sleep(30)', [])).rejects.toMatchObject(away);
      await end(pid);
      await long;
      expect(await db.ops(pidOf)).toBeGreaterThan(0);
    });

    it('and another failure of a statement stays what it is', async () => {
      await expect(db.ops((tx) => tx.query('select 1/0'))).rejects.toMatchObject({ code: '22012' });
      await expect(db.ops(() => readFile('/no/such/file'))).rejects.toMatchObject({ code: 'ENOENT', syscall: 'open' });
    });
  });

  describe('sends what belongs together at once', () => {
    const tenant = randomUUID();
    const FAILS = { text: 'select 1/0', values: [] };
    const put = `insert into usage_numbers (source, low, high) values ($1, $2, $2) returning source`;
    const stored = async (source: string) => db.ops((tx) => tx.query('select low from usage_numbers where source = $1', [source]));

    it('and the last statement with the commit: answered after both', async () => {
      const other = await openDatabase({ adminUrl: base.url(), secret: base.secret, poolSize: 1 });
      const rows = await db.intakeNamed([tenant], null, async (tx) => {
        expect(await context(tx)).toMatchObject({ tenants: `{${tenant}}` });
        await tx.query(put, ['together', '1']);
        const last = await tx.finish<{ source: string }>(put, ['together', '2']);
        expect(await other.ops((o) => o.query(`select low from usage_numbers where source = 'together'`))).toHaveLength(2);
        await expect(tx.query(put, ['together', '3'])).rejects.toThrow(/finished/);
        return last;
      });
      await other.close();
      expect(rows).toEqual([{ source: 'together' }]);
      expect(await stored('together')).toHaveLength(2);
      expect((await bare('intake')).tenants).toBe('{}');
    });

    it.each([
      ['the statement that opens it', FAILS, 'good'],
      ['the last statement', null, null],
    ])('nothing stands where %s fails, and the failure that is told is the first', async (name, opening, value) => {
      const work = db.intakeNamed([tenant], opening, async (tx) => {
        await Promise.all([tx.query(put, [name, '1']), tx.query(put, [name, '2'])]);
        return tx.finish(put, [name, value === null ? '0' : '3']);
      });
      await expect(work).rejects.toMatchObject({ code: opening ? '22012' : '23514' });
      expect(await stored(name)).toEqual([]);
      // The connection serves the next.
      expect(await db.intakeNamed([], null, (tx) => tx.finish('select 1 as n', []))).toEqual([{ n: 1 }]);
    });

    it('or all that there is: one statement, in the context of its tenants, behind what opens it', async () => {
      const opening = { text: 'select pg_advisory_xact_lock(7, $1::int)', values: ['9'] };
      const sql = `select $1::text as said, app_tenant_ids()::text as tenants, pg_backend_pid() as pid,
        (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and (classid, objid) = (7, 9)) as before`;
      const [one] = await db.intakeOnce<{ pid: number }>([tenant], opening, sql, ['a']);
      expect(one).toEqual({ said: 'a', tenants: `{${tenant}}`, pid: one!.pid, before: 1 });
      expect(await bare('intake')).toEqual({ tenant: null, tenants: '{}', pid: one!.pid });
      expect(await db.intakeOnce([], null, sql, ['b'])).toEqual([{ said: 'b', tenants: '{}', pid: one!.pid, before: 0 }]);
      await expect(db.intakeOnce([`${tenant}'`], null, sql, ['c'])).rejects.toThrow(/no uuid/);
    });

    it.each([
      ['what opens it', { text: `select 1 / $1::int`, values: ['0'] }, '1', '22012'],
      ['it', { text: `select 1 / $1::int`, values: ['1'] }, '0', '23514'],
    ])('nor does anything stand where %s fails, and the next is served', async (_, opening, value, code) => {
      const once = (low: string) => db.intakeOnce([tenant], opening, put, ['failed', low]);
      await expect(once(value)).rejects.toMatchObject({ code });
      // What was planned by the trip that failed is planned again.
      await expect(once(value)).rejects.toMatchObject({ code });
      expect(await stored('failed')).toEqual([]);
      expect(await db.intakeOnce([tenant], null, put, ['served', '1'])).toEqual([{ source: 'served' }]);
    });

    it('planned once for all, however small the first ones were', async () => {
      const sql = 'select source from unnest($1::text[]) as asked(source) join usage_sources using (source)';
      const plans = 'select generic_plans::int as generic, custom_plans::int as custom from pg_prepared_statements where statement = $1';
      for (let n = 0; n < 7; n++) await db.intakeOnce([tenant], null, sql, ['{a}']);
      expect(await db.intakeOnce([], null, plans, [sql])).toEqual([{ generic: 7, custom: 0 }]);
    });

    it('and whose server ends the connection meanwhile says so', async () => {
      const ended = db.intakeOnce([], null, 'select pg_terminate_backend(pg_backend_pid())', []);
      await expect(ended).rejects.toMatchObject({ kind: 'unavailable', code: 'database.unavailable' });
      expect(await db.intakeOnce([], null, 'select 1 as n', [])).toEqual([{ n: 1 }]);
    });

    it('nor where the work fails before it asks anything, or swallows a failure and goes on', async () => {
      const failed = db.intakeNamed([tenant], FAILS, () => Promise.reject(new Error('no')));
      await expect(failed).rejects.toThrow('no');
      const swallowed = db.intakeNamed([tenant], null, async (tx) => {
        await tx.query(put, ['swallowed', '1']);
        await tx.query(put, ['swallowed', '0']).catch(() => undefined);
      });
      await expect(swallowed).rejects.toThrow(/ended with ROLLBACK/);
      expect(await stored('swallowed')).toEqual([]);
    });
  });

  it('gives the rows of every kind of statement, with big numbers as text', async () => {
    await db.ops(async (tx) => {
      expect(await tx.query('select $1::bigint as a, $2::numeric as b', ['9223372036854775807', '12345678901234567890.5'])).toEqual([
        { a: '9223372036854775807', b: '12345678901234567890.5' },
      ]);
      expect(await tx.query(`update tasks set last_error = 'x' where lane = 'db' returning lane`)).toEqual([{ lane: 'db' }]);
      expect(await tx.query(`update tasks set last_error = 'x' where lane = 'nobody' returning lane`)).toEqual([]);
      expect(await tx.query(`delete from tasks where lane = 'db' returning lane`)).toEqual([{ lane: 'db' }]);
      expect(await tx.query('select 1 as n union all select 2 order by n')).toEqual([{ n: 1 }, { n: 2 }]);
    });
  });

  describe('refuses to serve', () => {
    const options = () => ({ adminUrl: base.url(), secret: base.secret, poolSize: 1 });
    const source = async (url: string): Promise<DataSource> => {
      const made = await new DataSource({ ...dataSourceOptions('ops', options()), url } as never).initialize();
      sources.push(made);
      return made;
    };
    const withOps = async (url: string): Promise<Database> =>
      new Database({ tenant: db.source('tenant'), intake: db.source('intake'), ops: await source(url) });

    it('with roles as they should be: not at all', async () => {
      await expect(db.assertIsolation()).resolves.toBeUndefined();
    });

    it('as a superuser', async () => {
      await expect((await withOps(base.url())).assertIsolation()).rejects.toThrow(/berth_ops is a superuser: refusing to serve/);
    });

    it('as the owner of the tables', async () => {
      await expect((await withOps(base.url('owner'))).assertIsolation()).rejects.toThrow(/berth_ops owns tables/);
    });

    it("with a right on a partition, or a view that looks with its owner's eyes", async () => {
      const admin = await source(base.url());
      await admin.query(
        'create table parted (id int) partition by hash (id); create table parted_0 partition of parted for values with (modulus 1, remainder 0)',
      );
      for (const [wrong, right] of [
        ['grant select on parted_0 to berth_tenant', 'revoke select on parted_0 from berth_tenant'],
        ['create view peek as select * from tasks; grant select on peek to berth_tenant', 'drop view peek'],
      ] as const) {
        await admin.query(wrong);
        await expect(db.assertIsolation()).rejects.toThrow(/berth_tenant may use (parted_0|peek)/);
        await admin.query(right);
        await expect(db.assertIsolation()).resolves.toBeUndefined();
      }
    });

    it('as a role that goes round the policies, or that may become one', async () => {
      const admin = await source(base.url());
      const url = new URL(base.url());
      for (const [name, how] of [
        [`r_${randomUUID().slice(0, 8)}`, 'bypassrls'],
        [`r_${randomUUID().slice(0, 8)}`, 'in role berth_owner'],
      ] as const) {
        await admin.query(`create role ${name} login password 'invented' ${how}`);
        try {
          url.username = name;
          url.password = 'invented';
          const role = await source(url.toString());
          await expect(
            new Database({ tenant: db.source('tenant'), intake: db.source('intake'), ops: role }).assertIsolation(),
          ).rejects.toThrow(/refusing to serve/);
          await sources.pop()!.destroy();
        } finally {
          await admin.query(`drop role ${name}`);
        }
      }
    });
  });
});
