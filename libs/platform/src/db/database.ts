import type { Writable } from 'node:stream';
import type { Pool, PoolClient, QueryResult } from 'pg';
import { DataSource, type DataSourceOptions, type EntityManager } from 'typeorm';
import { isUuid } from '../ids.js';
import { orUnavailable } from './database-away.js';
import { OneAtATime } from './one-at-a-time.js';
import { inOneTrip } from './one-trip.js';
import { SERVING_ROLES, roleUrl, type ServingRole } from './roles.js';

/** One open transaction. All statements of a use case go through it; nothing outside is called while it is open. */
export interface Tx {
  readonly manager: EntityManager;
  /** Rows of a statement with positional parameters ($1 …). `numeric` and `bigint` come back as text. */
  query<T = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<T[]>;
  /** Runs once the transaction has committed; never when it rolled back. Must not throw. */
  afterCommit(action: () => void): void;
}

/** A transaction of `intakeNamed`. Statements that are asked without waiting between them are sent without waiting. */
export interface IntakeTx extends Pick<Tx, 'query'> {
  /** The last statement, sent together with the commit: answers once both are done; its rows stand or nothing does. */
  finish<T = Record<string, unknown>>(sql: string, parameters: unknown[]): Promise<T[]>;
}

/** What goes before the first statement of a transaction of intake, for example locks: a query of one value, which nobody reads. */
export interface Opening {
  text: string;
  values: string[];
}

/** A client of the driver with `pipeline`, and its socket. */
type Pipelined = PoolClient & { connection: { stream: Writable } };

/** Injection token of `Database`. */
export const DATABASE = Symbol('berth.database');

/**
 * Transactions by role. The context of row-level security is set transaction-local, in the same round trip as BEGIN would
 * be seen by the next statement: a pooled connection never carries one tenant's context to another. No transaction is begun inside
 * another one (`OneAtATime`).
 */
export class Database {
  /** Of the statements that are planned once per connection, by their text. */
  private readonly names = new Map<string, string>();

  private readonly oneAtATime: OneAtATime;

  /** `assertions`: our own mistakes that mostly go well are errors (for tests and development). */
  constructor(
    private readonly sources: Record<ServingRole, DataSource>,
    { assertions = false } = {},
  ) {
    this.oneAtATime = new OneAtATime(assertions);
  }

  /** Workers, operators, webhook decisions: all tenants, by explicit policy. */
  ops<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.run('ops', [], work);
  }

  /** One tenant's own view; everything else is invisible and unwritable at SQL level. */
  tenant<T>(tenantId: string, work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.run('tenant', [['app.tenant_id', tenantId]], work);
  }

  /** Usage intake: one commit may span the tenants named here, and only them. */
  intake<T>(tenantIds: string[], work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.run('intake', [['app.tenant_ids', `{${tenantIds.join(',')}}`]], work);
  }

  /**
   * One statement that is a transaction by itself: one round trip instead of three. `name` has it parsed and planned once per
   * connection. Rows as they come from the driver. For paths on which a sender waits; all else uses `ops`.
   */
  async opsStatement<T>(name: string, sql: string, parameters: unknown[]): Promise<T[]> {
    const pool = (this.sources.ops.driver as unknown as { master: Pool }).master;
    const { rows } = await this.oneAtATime.run(() => pool.query({ name, text: sql, values: parameters }).catch(unavailable));
    return rows as T[];
  }

  /**
   * `intake` on the driver itself, for the path on which senders wait. What can be sent together goes in one round trip: BEGIN,
   * the tenants, `opening` and the first statement of `work`; and `tx.finish` with the commit. Texts do not vary: they are
   * parsed and planned once per connection.
   */
  intakeNamed<T>(tenantIds: string[], opening: Opening | null, work: (tx: IntakeTx) => Promise<T>): Promise<T> {
    return this.oneAtATime.run(() => this.inOnePacket(tenantIds, opening, work));
  }

  private async inOnePacket<T>(tenantIds: string[], opening: Opening | null, work: (tx: IntakeTx) => Promise<T>): Promise<T> {
    const { text, values } = openingOf(tenantIds, opening);
    const client = (await (this.sources.intake.driver as unknown as { master: Pool }).master.connect().catch(unavailable)) as Pipelined;
    let broken: Error | undefined;
    // The pool listens to idle clients only: a connection lost between two statements would end the process.
    const lost = (error: Error): void => void (broken = error);
    client.on('error', lost);
    const { stream } = client.connection;
    /** What is sent in one turn leaves in one packet. */
    const send = (text: string, values?: unknown[]): Promise<QueryResult> => {
      if (stream.writableCorked === 0) {
        stream.cork();
        process.nextTick(() => stream.uncork());
      }
      const result = client.query<Record<string, unknown>>(values ? { name: this.nameOf(text), text, values } : text);
      // Whoever waits for it hears of it; nobody may be left to, when the work has failed before.
      result.catch(() => undefined);
      return result;
    };
    let finished: Promise<QueryResult> | undefined;
    // Behind BEGIN, which cannot fail: if something here does, the transaction has failed, and so does all that was sent after it.
    const opened = [send('begin'), send(text, values)];
    // Each is waited for below, and the first failure is the one that says why: those behind it only tell that there was one.
    const inOrder = async <R>(results: Promise<R>[]): Promise<R> => {
      for (const result of results) await result;
      return results.at(-1)!;
    };
    const query = async <R>(text: string, values: unknown[] = []): Promise<R[]> => {
      if (finished) throw new Error('the transaction is finished');
      return (await inOrder([...opened, send(text, values)])).rows as R[];
    };
    try {
      const result = await work({
        query,
        finish: async <R>(text: string, values: unknown[]) => {
          const last = query<R>(text, values);
          finished = send('commit');
          await inOrder<unknown>([last, finished]);
          return last;
        },
      });
      const { command } = await inOrder([...opened, finished ?? send('commit')]);
      // A transaction that has failed is not committed by COMMIT, which says so and calls it no error.
      if (command !== 'COMMIT') throw new Error(`the transaction ended with ${command}`);
      return result;
    } catch (error) {
      // A connection that cannot roll back is closed, which ends its transaction too.
      await client.query('rollback').catch((e: Error) => (broken = e));
      return unavailable(error);
    } finally {
      client.off('error', lost);
      client.release(broken);
    }
  }

  /**
   * `intake` for a single statement: the tenants, `opening` and the statement go in one round trip and are one transaction,
   * which is committed when it answers. Texts do not vary.
   */
  async intakeOnce<T>(tenantIds: string[], opening: Opening | null, sql: string, parameters: string[]): Promise<T[]> {
    const pool = (this.sources.intake.driver as unknown as { master: Pool }).master;
    const statements = [openingOf(tenantIds, opening), { text: sql, values: parameters }];
    const named = statements.map((one) => ({ name: `${this.nameOf(one.text)}_once`, ...one }));
    return (await this.oneAtATime.run(() => inOneTrip(pool, named).catch(unavailable))) as T[];
  }

  private nameOf(sql: string): string {
    let name = this.names.get(sql);
    if (name === undefined) this.names.set(sql, (name = `intake_${this.names.size}`));
    return name;
  }

  source(role: ServingRole): DataSource {
    return this.sources[role];
  }

  private async run<T>(role: ServingRole, settings: [string, string][], work: (tx: Tx) => Promise<T>): Promise<T> {
    const after: (() => void)[] = [];
    const transaction = async (manager: EntityManager): Promise<T> => {
      for (const [name, value] of settings) await manager.query('select set_config($1, $2, true)', [name, value]);
      return work({
        manager,
        query: async <R>(sql: string, parameters?: unknown[]) => {
          const rows: unknown = await manager.query(sql, parameters);
          return asRows<R>(rows);
        },
        afterCommit: (action) => void after.push(action),
      });
    };
    const result = await this.oneAtATime.run(() => this.sources[role].transaction(transaction).catch(unavailable));
    for (const action of after) action();
    return result;
  }

  /**
   * Asserts what isolation rests on: no serving role is, or may become, one that is above the policies, and none reaches
   * rows beside them (a partition has no policy of its own, a view may look with its owner's eyes). Called at boot.
   */
  async assertIsolation(): Promise<void> {
    for (const role of SERVING_ROLES) {
      const rows = await this.sources[role].query<{ bad: string }[]>(
        `select f.bad || case when o.oid = r.oid then '' else ' (by way of ' || o.rolname || ')' end as bad
           from pg_roles r join pg_roles o on pg_has_role(r.oid, o.oid, 'member')
          cross join lateral (select case when o.rolsuper then 'is a superuser' when o.rolbypassrls then 'bypasses row-level security'
                                          when exists (select 1 from pg_class c where c.relowner = o.oid) then 'owns tables' end as bad) f
          where r.rolname = current_user and f.bad is not null
         union all
         select 'may use ' || c.relname || ' beside its policies' from pg_class c
          where c.relnamespace = 'public'::regnamespace and has_any_column_privilege(c.oid, 'select, insert, update')
            and (c.relispartition and c.relkind in ('r', 'p') or c.relkind = 'm' or c.relkind = 'v' and not coalesce(c.reloptions && array['security_invoker=true', 'security_invoker=on'], false))
          limit 1`,
      );
      if (rows[0]) throw new Error(`database role berth_${role} ${rows[0].bad}: refusing to serve`);
    }
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.sources).map((s) => (s.isInitialized ? s.destroy() : undefined)));
  }
}

/** The tenants, and what else opens the transaction, as one statement: each of them costs as much as a row or two. */
function openingOf(tenantIds: readonly string[], opening: Opening | null): Opening {
  if (!tenantIds.every(isUuid)) throw new Error('a tenant id is no uuid');
  const { text, values } = opening ?? { text: '', values: [] };
  const context = `set_config('app.tenant_ids', $${values.length + 1}, true)`;
  return { text: opening ? `select ${context}, (${text})` : `select ${context}`, values: [...values, `{${tenantIds.join(',')}}`] };
}

const unavailable = (error: unknown): never => {
  throw orUnavailable(error);
};

/** TypeORM answers UPDATE and DELETE … RETURNING as [rows, count]; callers always want the rows. */
function asRows<R>(result: unknown): R[] {
  if (Array.isArray(result) && result.length === 2 && Array.isArray(result[0]) && typeof result[1] === 'number') return result[0] as R[];
  return (result ?? []) as R[];
}

export interface DatabaseOptions {
  adminUrl: string;
  secret: string;
  /** The libs' TypeORM records; the schema is never synchronised from them. */
  entities?: (new () => object)[];
  poolSize?: number;
  /** See `Database`. */
  assertions?: boolean;
}

/** TypeORM options of one serving role's pool. */
export function dataSourceOptions(role: ServingRole, options: DatabaseOptions): DataSourceOptions {
  return {
    type: 'postgres',
    url: roleUrl(options.adminUrl, role, options.secret),
    entities: options.entities ?? [],
    synchronize: false,
    applicationName: `berth-${role}`,
    extra: {
      max: options.poolSize ?? 8,
      // Statements of one transaction need not wait for each other's answer (`intakeNamed`).
      pipeline: role === 'intake',
      // Else Postgres may find for good that each group is worth planning anew, by how small the first five happened to be.
      ...(role === 'intake' ? { options: '-c plan_cache_mode=force_generic_plan' } : {}),
      connectionTimeoutMillis: 10_000,
      statement_timeout: 60_000,
      idle_in_transaction_session_timeout: 60_000,
    },
  };
}

/** Opens the three serving pools outside Nest (tests, tools). */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const [tenant, ops, intake] = await Promise.all(
    (['tenant', 'ops', 'intake'] as const).map(async (role) => {
      const source = new DataSource(dataSourceOptions(role, options));
      await source.initialize();
      return source;
    }),
  );
  return new Database({ tenant: tenant!, ops: ops!, intake: intake! }, { assertions: options.assertions ?? false });
}
