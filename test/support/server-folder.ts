import { mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { freemem, platform } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MEMORY = '/dev/shm';
const PREFIX = 'berth-test-';
/** Write-ahead log of 1 GB at most, and the databases of a few files at once. */
const NEEDED_BYTES = 3 * 1024 ** 3;

/**
 * Where the suite's server lies: in memory where the machine has room for it, else below `.tmp`. Each test file copies a database of
 * some seven hundred small files, and making files is what a disk is slowest at.
 */
export function serverFolder(suite: string): string {
  const name = `postgres-${suite}-${process.pid}`;
  if (hasRoomInMemory()) {
    forgetTheDead();
    const folder = join(MEMORY, `${PREFIX}${process.pid}`);
    mkdirSync(folder, { recursive: true, mode: 0o711 });
    return join(folder, name);
  }
  const folder = fileURLToPath(new URL('../../.tmp/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  return join(folder, name);
}

/** What is left around the server's folder once it is gone. */
export function leaveServerFolder(dataDir: string): void {
  const around = join(dataDir, '..');
  if (basename(around).startsWith(PREFIX)) rmSync(around, { recursive: true, force: true });
}

function hasRoomInMemory(): boolean {
  if (platform() !== 'linux' || freemem() < NEEDED_BYTES) return false;
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    return bavail * bsize >= NEEDED_BYTES;
  } catch {
    return false;
  }
}

/** Folders of runs that were killed: nobody else would ever give their memory back. */
function forgetTheDead(): void {
  for (const name of readdirSync(MEMORY)) {
    const pid = Number(name.startsWith(PREFIX) ? name.slice(PREFIX.length) : NaN);
    if (!Number.isInteger(pid) || isAlive(pid)) continue;
    try {
      rmSync(join(MEMORY, name), { recursive: true, force: true });
    } catch {
      // Another person's: it is theirs to remove.
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
