/** Small files that survive a kill: written beside, synced, renamed. */
import { createHash, createHmac } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Replaces the file as a whole, readable by the owner only. A reader sees the old one or the new one. */
export function writeJsonAtomic(path: string, value: unknown): void {
  const temporary = `${path}.${process.pid}.new`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    writeSync(fd, `${JSON.stringify(value, null, 1)}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

/** Makes a rename durable. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Undefined when the file is not there or is not JSON. */
export function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}

export const cellPaths = (folder: string) => ({
  cell: join(folder, 'cell.json'),
  desired: join(folder, 'desired.json'),
  pid: join(folder, 'cell.pid.json'),
  clock: join(folder, 'clock.json'),
  journal: join(folder, 'counters.journal'),
  refused: join(folder, 'refused.ndjson'),
  log: join(folder, 'cell.log'),
  blobs: join(folder, 'blobs'),
});

/**
 * Folder of the private socket between gateway and Azurite. A socket path may have 107 bytes only, so it cannot
 * always lie in the cell folder; the name follows from the cell folder, so that deletion finds it without a record.
 */
export function socketFolder(folder: string): string {
  return join(tmpdir(), `berth-${createHash('sha256').update(folder).digest('hex').slice(0, 20)}`);
}

export function removeSocketFolder(folder: string): void {
  rmSync(socketFolder(folder), { recursive: true, force: true });
}

/** What a cell answers to a challenge. */
export function identityProof(nonce: string, challenge: string, cellId: string, pid: number): string {
  return createHmac('sha256', nonce).update(`${challenge}\n${cellId}\n${pid}`).digest('hex');
}

/** Opens `POST /clock` and nothing else: the clock's owner must not hold the admin nonce. */
export function clockToken(nonce: string): string {
  return createHmac('sha256', nonce).update('clock').digest('hex');
}

/** Start time of a process in clock ticks since boot; null when there is no such process, or it is a zombie, or no /proc. */
export function processStartTicks(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name may hold spaces and brackets: the fields begin after the last ')'.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}
