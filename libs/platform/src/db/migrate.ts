import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { DataSource, type MigrationInterface, type QueryRunner } from 'typeorm';
import { projectRoot } from '../project-root.js';
import { roleName, rolePassword, roleUrl, SERVING_ROLES, type DatabaseRole } from './roles.js';

const LOCK = 7_205_311;

type MigrationClass = new () => MigrationInterface;

/**
 * The reviewed SQL of `migrations/NNNN_name.up.sql` (with its `.down.sql`) as TypeORM migrations: one history for all libs.
 * TypeORM orders by the number at the end of the class name, which is made of the file's number. Throws where two files share
 * one: which of them runs first would be chance.
 */
export function sqlMigrations(folder = join(projectRoot(), 'migrations')): MigrationClass[] {
  const files = readdirSync(folder)
    .filter((f) => /^\d{4}_[a-z0-9_]+\.up\.sql$/.test(f))
    .sort();
  const twin = files.find((file, i) => file.slice(0, 4) === files[i - 1]?.slice(0, 4));
  if (twin) throw new Error(`two migrations have the number ${twin.slice(0, 4)}; give ${twin} the next free one`);
  return files.map((file) => {
    const up = readFileSync(join(folder, file), 'utf8');
    const down = readFileSync(join(folder, file.replace('.up.sql', '.down.sql')), 'utf8');
    const name = `${file.slice(5, -7)}${1_700_000_000_000 + Number(file.slice(0, 4))}`;
    return class implements MigrationInterface {
      name = name;
      async up(runner: QueryRunner): Promise<void> {
        await runner.query(up);
      }
      async down(runner: QueryRunner): Promise<void> {
        await runner.query(down);
      }
    };
  });
}

/**
 * Creates the roles and brings the schema up to date, under an advisory lock (TypeORM takes none: two starters would
 * collide). Idempotent. `adminUrl` needs CREATEROLE and CREATE on the database.
 */
export async function migrate(options: { adminUrl: string; secret: string }): Promise<void> {
  const admin = new pg.Client({ connectionString: options.adminUrl });
  await admin.connect();
  try {
    await admin.query('select pg_advisory_lock($1)', [LOCK]);
    await ensureRoles(admin, options.secret);
    const source = new DataSource({
      type: 'postgres',
      url: roleUrl(options.adminUrl, 'owner', options.secret),
      migrations: sqlMigrations(),
      migrationsTransactionMode: 'each',
      extra: { max: 1 },
    });
    await source.initialize();
    try {
      await source.runMigrations();
    } finally {
      await source.destroy();
    }
  } finally {
    await admin.end();
  }
}

async function ensureRoles(admin: pg.Client, secret: string): Promise<void> {
  const roles: DatabaseRole[] = ['owner', ...SERVING_ROLES];
  for (const role of roles) {
    const name = roleName(role);
    const password = admin.escapeLiteral(rolePassword(role, secret));
    const found = await admin.query('select 1 from pg_roles where rolname = $1', [name]);
    // Two databases of one server may be migrated at once (test workers): the loser of the race finds the role there.
    if (found.rowCount === 0) {
      await admin.query(`create role ${name} login nosuperuser nobypassrls nocreatedb nocreaterole`).catch((error: { code?: string }) => {
        if (error.code !== '42710' && error.code !== '23505') throw error;
      });
    }
    await admin.query(`alter role ${name} password ${password}`).catch((error: { message?: string }) => {
      if (!/tuple concurrently updated/.test(error.message ?? '')) throw error;
    });
  }
  const { rows } = await admin.query<{ name: string }>('select current_database() as name');
  const database = admin.escapeIdentifier(rows[0]!.name);
  await admin.query(`grant connect, create, temporary on database ${database} to berth_owner`);
  for (const role of SERVING_ROLES) await admin.query(`grant connect on database ${database} to ${roleName(role)}`);
  await admin.query('grant usage, create on schema public to berth_owner');
  await admin.query('revoke create on schema public from public');
}
