/**
 * A program and everything it starts, as one group that is ended as one: the children of a killed terraform went on by themselves
 * and made nodes that no state knew (contract provisioning §4.4).
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { endGroup, groupIsAlive } from './groups.js';

export interface GroupRun {
  readonly program: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Between SIGINT, at which terraform writes what it has done, and SIGKILL. */
  readonly graceMs: number;
  readonly signal: AbortSignal;
  readonly onLine: (line: string, stream: 'stdout' | 'stderr') => void;
  /** Once it runs. */
  readonly onStart?: (pid: number) => void;
}

export interface GroupEnd {
  readonly code: number | null;
  readonly ended: 'by_itself' | 'cancelled' | 'timed_out';
}

/** A line longer than this is a mistake; its rest is not kept. */
const LINE = 64 * 1024;

/** Resolves when no process of the group is left. Never rejects for what the program does. */
export function runGroup(run: GroupRun): Promise<GroupEnd> {
  return new Promise((resolve, reject) => {
    // Detached: a group of its own, whose id is the child's pid.
    const child = spawn(run.program, run.args, {
      cwd: run.folder,
      env: { ...run.env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let ended: GroupEnd['ended'] = 'by_itself';
    let ending: Promise<void> | undefined;
    const stop = (why: 'cancelled' | 'timed_out') => (): void => {
      if (ending || child.pid === undefined) return;
      ended = why;
      ending = endGroup(child.pid, run.graceMs);
    };
    const onAbort = stop('cancelled');
    const timer = setTimeout(stop('timed_out'), run.timeoutMs);
    run.signal.addEventListener('abort', onAbort, { once: true });
    for (const stream of ['stdout', 'stderr'] as const)
      createInterface({ input: child[stream] }).on('line', (line) => run.onLine(line.slice(0, LINE), stream));
    const settle = (): void => {
      clearTimeout(timer);
      run.signal.removeEventListener('abort', onAbort);
    };
    child.once('error', (error) => {
      settle();
      reject(error);
    });
    // `close`, not `exit`: a child that still holds the pipes still says something.
    child.once('exit', () => {
      // Killed from outside: what it has started is still there, and may hold the pipes for as long as it likes.
      if (child.pid !== undefined && !ending && groupIsAlive(child.pid)) ending = endGroup(child.pid, run.graceMs);
    });
    child.once('close', (code) => {
      settle();
      void (ending ?? Promise.resolve()).then(() => resolve({ code, ended }));
    });
    if (child.pid !== undefined) run.onStart?.(child.pid);
    if (run.signal.aborted) onAbort();
  });
}
