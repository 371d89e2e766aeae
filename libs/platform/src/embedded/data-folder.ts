import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { firstClosedFolder, type ServerOwner } from './binaries.js';
import { EmbeddedStartError, USE_DATABASE_URL } from './embedded.errors.js';
import { identify, isAlive, type ProcessIdentity } from './process-tools.js';

/** The places of one embedded Postgres; all but `data` belong to us and lie beside the data folder the caller named. */
export interface DataFolder {
  /** Where the server's files are: the named folder, or its stand-in when the server's user cannot reach that. */
  readonly data: string;
  readonly log: string;
  readonly portFile: string;
  readonly passwordFile: string;
  readonly holderFile: string;
}

export function prepareDataFolder(dataDir: string, owner: ServerOwner, passwordFile?: string): DataFolder {
  const named = resolve(dataDir);
  const parent = dirname(named);
  try {
    mkdirSync(parent, { recursive: true });
  } catch (error) {
    throw new EmbeddedStartError(
      `the folder ${parent} cannot be made (${(error as NodeJS.ErrnoException).code})`,
      'choose another data folder with BERTH_DATA',
    );
  }
  return {
    data: owner && firstClosedFolder(parent, owner) ? standIn(named) : named,
    log: `${named}.log`,
    portFile: `${named}.port`,
    passwordFile: passwordFile ?? join(parent, `${basename(named)}.password`),
    holderFile: `${named}.holder.json`,
  };
}

/**
 * Started by root below a 0700 home, the server's user cannot reach the named folder. Its data then live in a folder of
 * /var/tmp (kept over reboots), whose name follows from the named one; a note there says where.
 */
function standIn(named: string): string {
  const base = existsSync('/var/tmp') ? '/var/tmp' : tmpdir();
  const home = join(base, `berth-data-${createHash('sha256').update(named).digest('hex').slice(0, 16)}`);
  if (!existsSync(home)) mkdirSync(home, { mode: 0o711 });
  const found = lstatSync(home);
  if (!found.isDirectory() || found.uid !== process.getuid?.()) {
    throw new EmbeddedStartError(
      `${home} belongs to somebody else`,
      `remove it, choose a data folder outside a closed home, or ${USE_DATABASE_URL}`,
    );
  }
  chmodSync(home, 0o711);
  const note = `${named}.where.txt`;
  if (!existsSync(note)) writeFileSync(note, `${home}\n`);
  return join(home, 'postgres');
}

/** Removes a throw-away data folder with all that lies beside it. The server must have been stopped. */
export function removeDataFolder(folder: DataFolder, named: string): void {
  rmSync(folder.data, { recursive: true, force: true });
  if (folder.data !== resolve(named)) rmSync(dirname(folder.data), { recursive: true, force: true });
  for (const file of [folder.log, folder.portFile, folder.passwordFile, folder.holderFile, `${resolve(named)}.where.txt`])
    rmSync(file, { force: true });
}

/** The superuser's password: made once, readable by us alone. */
export function readOrMakePassword(file: string): { password: string; made: boolean } {
  if (existsSync(file)) {
    const password = readFileSync(file, 'utf8').trim();
    if (password) return { password, made: false };
  }
  const password = randomBytes(24).toString('base64url');
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${password}\n`, { mode: 0o600 });
  chmodSync(file, 0o600);
  return { password, made: true };
}

/**
 * Runs `work` with the password in a file that the server's user can read: initdb opens it as that user, and the kept file
 * is closed to it.
 */
export function withPasswordFile<T>(password: string, owner: ServerOwner, work: (file: string) => Promise<T>): Promise<T> {
  const file = join(tmpdir(), `berth-pw-${randomBytes(8).toString('hex')}`);
  writeFileSync(file, `${password}\n`, { mode: 0o600, flag: 'wx' });
  if (owner) chownSync(file, owner.uid, owner.gid);
  return work(file).finally(() => rmSync(file, { force: true }));
}

export function readPort(file: string): number | undefined {
  try {
    const port = Number(readFileSync(file, 'utf8').trim());
    return Number.isInteger(port) && port > 1023 && port < 65536 ? port : undefined;
  } catch {
    return undefined;
  }
}

export interface Hold {
  /** True when the server found here belonged to a dead launcher that takes it along: it is on its way down. */
  readonly predecessorTied: boolean;
  release(): void;
}

interface Holder extends ProcessIdentity {
  readonly tied?: boolean;
}

/** One launcher at a time: a second one would adopt the server and stop it under the first. A dead holder counts for nothing. */
export function holdDataFolder(folder: DataFolder, tied: boolean): Hold {
  const own = identify(process.pid);
  let predecessorTied = false;
  for (let attempt = 0; ; attempt++) {
    try {
      writeFileSync(folder.holderFile, JSON.stringify({ ...own, tied } satisfies Holder), { flag: 'wx' });
      break;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EACCES' || code === 'EROFS' || code === 'ENOSPC') {
        throw new EmbeddedStartError(
          `${dirname(folder.holderFile)} cannot be written to (${code})`,
          'choose another data folder with BERTH_DATA',
        );
      }
      if (code !== 'EEXIST') throw error;
      const holder = readHolder(folder.holderFile);
      const free = !holder || !isAlive(holder) || (holder.pid === own.pid && holder.startTicks === own.startTicks);
      if (!free || attempt > 3) {
        throw new EmbeddedStartError(
          `the data folder ${folder.data} is in use by process ${holder?.pid ?? 'unknown'}`,
          'stop that process or choose another folder with BERTH_DATA',
        );
      }
      predecessorTied = holder?.tied === true;
      rmSync(folder.holderFile, { force: true });
    }
  }
  return {
    predecessorTied,
    release: () => {
      if (readHolder(folder.holderFile)?.pid === own.pid) rmSync(folder.holderFile, { force: true });
    },
  };
}

function readHolder(file: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Holder;
  } catch {
    return undefined;
  }
}
