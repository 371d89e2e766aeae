import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A process as far as it can be told from a later one with the same number. `startTicks` is field 22 of /proc/<pid>/stat;
 * undefined where there is no /proc.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks?: string;
}

function readStat(pid: number): { state: string; startTicks: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in brackets may hold blanks and brackets: count from the last one.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '?', startTicks: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}

export function identify(pid: number): ProcessIdentity {
  const stat = readStat(pid);
  return stat ? { pid, startTicks: stat.startTicks } : { pid };
}

/** A zombie is dead: in a container whose first process reaps nobody, orphans stay as zombies for ever. */
export function isAlive(process_: ProcessIdentity): boolean {
  if (existsSync('/proc/self/stat')) {
    const stat = readStat(process_.pid);
    if (!stat || stat.state === 'Z' || stat.state === 'X') return false;
    return process_.startTicks === undefined || process_.startTicks === stat.startTicks;
  }
  try {
    process.kill(process_.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

export function signal(target: ProcessIdentity, name: NodeJS.Signals): void {
  if (!isAlive(target)) return;
  try {
    process.kill(target.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** True when the process has ended within the time. */
export async function waitForEnd(target: ProcessIdentity, milliseconds: number): Promise<boolean> {
  const until = performance.now() + milliseconds;
  while (isAlive(target)) {
    if (performance.now() > until) return false;
    await sleep(20);
  }
  return true;
}

// The start time is compared, so that a later process with the same number is left alone.
const GUARD = `
while read -r _; do :; done
if [ -n "$BERTH_TICKS" ]; then
  read -r line < "/proc/$BERTH_PID/stat" || exit 0
  set -- \${line##*) }
  shift 19
  [ "$1" = "$BERTH_TICKS" ] || exit 0
fi
kill -s "$BERTH_SIGNAL" "$BERTH_PID"
`;

/**
 * Ties a child's life to ours, also when we are killed with SIGKILL: a shell reads a pipe that only we hold, and signals the
 * child once it ends. Returns the function that lets the child go.
 */
export function endWithThisProcess(child: ProcessIdentity, name: 'INT' | 'TERM', owner: { uid?: number; gid?: number } = {}): () => void {
  const guard = spawn('/bin/sh', ['-c', GUARD, 'berth-guard'], {
    ...owner,
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: '/usr/bin:/bin', BERTH_PID: String(child.pid), BERTH_TICKS: child.startTicks ?? '', BERTH_SIGNAL: name },
  });
  guard.on('error', () => undefined);
  guard.unref();
  guard.stdin?.on('error', () => undefined);
  (guard.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  return () => {
    guard.kill('SIGKILL');
  };
}

/** The wished port of the loopback interface if nobody has it, else another. */
export async function freePort(wished?: number): Promise<number> {
  if (wished && (await canListen(wished)) === wished) return wished;
  return canListen(0).then((port) => port ?? Promise.reject(new Error('no free port on 127.0.0.1')));
}

function canListen(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : undefined));
    });
  });
}

export const pause = (milliseconds: number): Promise<void> => sleep(milliseconds);
