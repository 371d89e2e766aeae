import { readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { identify, isAlive, type ProcessIdentity } from './process-tools.js';

/** What a running server wrote about itself: pid, data folder, start time, port, socket folder, address, shared memory, state. */
export interface Postmaster {
  readonly process: ProcessIdentity;
  readonly port: number;
}

/**
 * The living server of this data folder. A pid file alone proves nothing: after a power cut another program may have the
 * number, so its program file must be a `postgres` (where /proc tells).
 */
export function livingPostmaster(dataDir: string): Postmaster | undefined {
  let lines: string[];
  try {
    lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return undefined;
  }
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  const found = identify(pid);
  if (!isAlive(found) || programOf(pid) === 'other') return undefined;
  return { process: found, port: Number(lines[3]) || 0 };
}

function programOf(pid: number): 'postgres' | 'other' | 'unknown' {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`)).startsWith('postgres') ? 'postgres' : 'other';
  } catch {
    // Another user's process, or no /proc: the command line is open to all.
  }
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('postgres') ? 'postgres' : 'other';
  } catch {
    return 'unknown';
  }
}
