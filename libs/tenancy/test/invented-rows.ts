import { randomBytes, randomUUID } from 'node:crypto';
import type pg from 'pg';

export interface TenantTable {
  name: string;
  required: { column: string; type: string }[];
}

/** A value of a column's type; keys get one nobody has used. */
function invented(type: string): unknown {
  if (type.endsWith('[]')) return '{}';
  if (type === 'uuid') return randomUUID();
  if (type === 'boolean') return true;
  if (/^(smallint|integer|bigint|numeric)/.test(type)) return randomBytes(2).readUInt16BE() % 30_000;
  if (/^(timestamp|date)/.test(type)) return '2030-05-01T10:00:00Z';
  if (/^json/.test(type)) return '{}';
  if (/^(text|character)/.test(type)) return randomBytes(8).toString('hex');
  if (type === 'bytea') return Buffer.from([1]);
  throw new Error(`no value is invented for a column of type ${type} yet: add one`);
}

/** Tables of schema public with a tenant, without partitions, with the columns that a row must have. */
export async function tenantTables(admin: pg.Client): Promise<TenantTable[]> {
  const { rows } = await admin.query<TenantTable>(`
    select c.relname as name,
           coalesce((select json_agg(json_build_object('column', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) order by a.attnum)
                       from pg_attribute a
                      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname <> 'tenant_id'
                        and a.attnotnull and not a.atthasdef and a.attidentity = '' and a.attgenerated = ''), '[]') as required
      from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
       and exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
     order by 1`);
  return rows;
}

/** An insert of one invented row for a tenant. */
export function insertOf(table: TenantTable, tenantId: string): { sql: string; values: unknown[] } {
  const columns = ['tenant_id', ...table.required.map((r) => r.column)];
  return {
    sql: `insert into ${table.name} (${columns.map((c) => `"${c}"`).join(', ')}) values (${columns.map((_, i) => `$${i + 1}`).join(', ')})`,
    values: [tenantId, ...table.required.map((r) => invented(r.type))],
  };
}

/** Takes away what has nothing to do with isolation, so that any invented row may stand: checks, foreign keys, triggers, days. */
export async function relaxForInvention(admin: pg.Client): Promise<void> {
  await admin.query(`do $$ declare r record; begin
    for r in select con.conname, con.conrelid::regclass as tbl from pg_constraint con join pg_class c on c.oid = con.conrelid
              where c.relnamespace = 'public'::regnamespace and con.contype in ('c', 'f') and con.coninhcount = 0 and not c.relispartition loop
      execute format('alter table %s drop constraint %I', r.tbl, r.conname);
    end loop;
    for r in select distinct t.tgrelid::regclass as tbl from pg_trigger t where not t.tgisinternal loop
      execute format('alter table %s disable trigger user', r.tbl);
    end loop;
    for r in select c.relname from pg_class c join pg_partitioned_table p on p.partrelid = c.oid where p.partstrat = 'r' and p.partdefid = 0 loop
      execute format('create table %I partition of %I default', r.relname || '_any', r.relname);
    end loop;
  end $$`);
}
