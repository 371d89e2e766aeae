import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  ConfigError,
  embeddedUrl,
  errorText,
  migrate,
  openDatabase,
  ProblemError,
  rolesAreOurs,
  startEmbeddedPostgres,
  tablesIn,
  type Database,
} from '#platform';

type Env = Record<string, string | undefined>;
export interface OpenedDatabase {
  db: Database;
  close(): Promise<void>;
}

const dataOf = (env: Env): string => resolve(env['BERTH_DATA'] || '.berth');
function secretOf(env: Env): string | null {
  const file = join(dataOf(env), 'secret');
  return env['BERTH_SECRET'] || (existsSync(file) ? readFileSync(file, 'utf8').trim() : null);
}

/** The database of the running installation that the settings name; only read from. */
export async function openInstallation(env: Env): Promise<OpenedDatabase> {
  const adminUrl = env['DATABASE_URL'] || embeddedUrl(join(dataOf(env), 'postgres'));
  const secret = secretOf(env);
  if (!adminUrl || !secret)
    throw new ConfigError(
      `no installation is found: set DATABASE_URL and BERTH_SECRET, or BERTH_DATA to its data folder (${dataOf(env)} has none; docs/guides/settings.md)`,
    );
  const db = await openDatabase({ adminUrl, secret, poolSize: 2 }).catch((error: unknown) => {
    throw new ConfigError(`the installation's database does not answer (${errorText(error)}): does it run, and is BERTH_SECRET its own?`);
  });
  return { db, close: () => db.close() };
}

/** An empty database to replay into: the one named, or a private one that is thrown away. Throws `replay.database_not_empty`. */
export async function openEmpty(into: string | null, env: Env): Promise<OpenedDatabase> {
  if (into === null) return thrownAway();
  if (!/^postgres(ql)?:\/\//.test(into) || !URL.canParse(into))
    throw new ConfigError('--into is a URL of an empty database, for example postgres://postgres@127.0.0.1:5432/replay');
  const secret = secretOf(env);
  if (!secret)
    throw new ConfigError(
      'BERTH_SECRET is missing: the roles of the database get their passwords from it. On a server without an installation any text will do',
    );
  await assertEmpty(into);
  await assertRolesAreOurs(into, secret);
  return prepared(into, secret, () => Promise.resolve());
}

async function thrownAway(): Promise<OpenedDatabase> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-replay-'));
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), durability: 'relaxed' });
  const end = async (): Promise<void> => {
    await postgres.stop({ removeData: true });
    rmSync(folder, { recursive: true, force: true });
  };
  return prepared(postgres.url, randomBytes(32).toString('base64url'), end);
}

async function prepared(adminUrl: string, secret: string, end: () => Promise<void>): Promise<OpenedDatabase> {
  try {
    await migrate({ adminUrl, secret });
    const db = await openDatabase({ adminUrl, secret, poolSize: 2 });
    return { db, close: async () => (await db.close(), end()) };
  } catch (error) {
    await end();
    throw error;
  }
}

async function assertEmpty(url: string): Promise<void> {
  const tables = await tablesIn(url);
  if (tables.length === 0) return;
  throw new ProblemError(
    'conflict',
    'replay.database_not_empty',
    `The database has ${tables.length} tables and views in it (${tables.slice(0, 5).join(', ')}${tables.length > 5 ? ', …' : ''}). A replay starts from nothing: name an empty database.`,
  );
}

async function assertRolesAreOurs(url: string, secret: string): Promise<void> {
  if (await rolesAreOurs(url, secret)) return;
  throw new ProblemError(
    'conflict',
    'replay.foreign_roles',
    'The server has an installation of Berth with another secret, and a replay would lock it out. Set BERTH_SECRET to its secret, or use another server.',
  );
}
