/** Process groups from outside: whether one lives, how it is ended, and which belong to a run that nobody waits for any more. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** In the environment of every process of a run, with the cluster and the work folder as its value. */
export const RUN_MARK = 'BERTH_TERRAFORM_RUN';

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A zombie is nobody: only its parent has not looked yet. */
export function groupIsAlive(pgid: number): boolean {
  try {
    process.kill(-pgid, 0);
  } catch {
    return false;
  }
  const members = processes().filter((p) => p.pgid === pgid);
  return members.length === 0 ? !existsSync('/proc/self/stat') : members.some((p) => p.state !== 'Z' && p.state !== 'X');
}

/** SIGINT, then SIGKILL when the grace is over; resolves when the group is gone. */
export async function endGroup(pgid: number, graceMs: number): Promise<void> {
  signal(pgid, 'SIGINT');
  if (await isGone(pgid, graceMs)) return;
  signal(pgid, 'SIGKILL');
  await isGone(pgid, 5_000);
}

/**
 * Ends what a run left behind whose process (ours, or terraform) was killed. A process is ours by the mark in its environment; its
 * pid alone proves nothing. Linux only: elsewhere there is nothing to read, and fences alone hold a late writer off.
 */
export async function endLeftovers(mark: string): Promise<number> {
  const groups = new Set(
    processes()
      .filter((p) => p.state !== 'Z' && marked(p.pid, mark))
      .map((p) => p.pgid),
  );
  // Whose death nobody waited for shall not write on: no grace.
  await Promise.all(
    [...groups].map(async (pgid) => {
      signal(pgid, 'SIGKILL');
      await isGone(pgid, 5_000);
    }),
  );
  return groups.size;
}

interface Process {
  readonly pid: number;
  readonly pgid: number;
  readonly state: string;
}

function processes(): Process[] {
  if (!existsSync('/proc/self/stat')) return [];
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      // The command name may hold spaces and brackets: the fields begin after the last ')'.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return [{ pid: Number(name), pgid: Number(fields[2]), state: fields[0]! }];
    } catch {
      return [];
    }
  });
}

function marked(pid: number, mark: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`${RUN_MARK}=${mark}`);
  } catch {
    return false;
  }
}

function signal(pgid: number, name: 'SIGINT' | 'SIGKILL'): void {
  try {
    process.kill(-pgid, name);
  } catch {
    // It has ended by itself.
  }
}

async function isGone(pgid: number, ms: number): Promise<boolean> {
  const until = performance.now() + ms;
  while (groupIsAlive(pgid)) {
    if (performance.now() > until) return false;
    await new Promise((done) => setTimeout(done, 50));
  }
  return true;
}
