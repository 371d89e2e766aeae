/** Programs of the demo as child processes: started, stopped, killed, and looked for afterwards. */
import { spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { basename, dirname, join } from 'node:path';
import { sleep } from './wait.js';

export type Banner = { ready: true; url: string } & Record<string, unknown>;

const START_MS = 60_000;

export class Program {
  private constructor(
    readonly name: string,
    readonly banner: Banner,
    private readonly child: ChildProcess,
    private readonly ended: Promise<string>,
  ) {}

  /** Resolves with the program's line `{"ready":true,…}`. What it says goes to `logFile`. */
  static async start(name: string, file: string, env: Record<string, string>, logFile: string): Promise<Program> {
    // A group of its own: a terminal's Ctrl-C reaches us alone, and we end the others in their order.
    const child = spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    living.add(child);
    const log = (line: string): void => appendFileSync(logFile, `${line}\n`);
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, signal) => {
        living.delete(child);
        resolve(signal ? `signal ${signal}` : `exit code ${code}`);
      });
    });
    let told = '';
    createInterface({ input: child.stderr }).on('line', (line) => {
      // A fault of ours is one line; of a crash the line that names the error is worth more than the last one.
      if (!/^\w*Error\b/.test(told)) told = line.trim() || told;
      log(line);
    });
    const banner = await new Promise<Banner>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${name} was not ready after ${START_MS / 1000} s`)), START_MS);
      createInterface({ input: child.stdout }).on('line', (line) => {
        const found = readBanner(line);
        if (!found) return log(line);
        clearTimeout(timer);
        resolve(found);
      });
      void ended.then(async (how) => {
        clearTimeout(timer);
        await sleep(50); // its last line may still be on its way through the pipe
        reject(new Error(`${name} ended before it was ready (${how}). ${told}`));
      });
    });
    return new Program(name, banner, child, ended);
  }

  get pid(): number {
    return this.child.pid!;
  }

  get isAlive(): boolean {
    return living.has(this.child);
  }

  async kill(): Promise<string> {
    this.child.kill('SIGKILL');
    return this.ended;
  }

  /** Gracefully, then not. Answers whether the first was enough. */
  async stop(withinMs = 20_000): Promise<boolean> {
    if (!this.isAlive) return true;
    this.child.kill('SIGTERM');
    const timer = new AbortController();
    const graceful = await Promise.race([this.ended.then(() => true), sleep(withinMs, false, { signal: timer.signal }).catch(() => false)]);
    timer.abort();
    if (!graceful) await this.kill();
    return graceful;
  }

  /** Peak resident memory in MiB; null where the system does not tell. */
  peakMemoryMiB(): number | null {
    try {
      const m = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'));
      return m ? Math.round(Number(m[1]) / 1024) : null;
    } catch {
      return null;
    }
  }
}

const living = new Set<ChildProcess>();

/** Also those that are still starting and that nobody holds yet: the newest first. */
export async function stopAll(withinMs: number): Promise<void> {
  for (const child of [...living].reverse()) {
    child.kill('SIGTERM');
    const limit = performance.now() + withinMs;
    while (living.has(child) && performance.now() < limit) await sleep(20);
    if (living.has(child)) child.kill('SIGKILL');
  }
}

/** For an exit that leaves no time: nothing that was started by `Program` outlives us. */
export function killAllNow(): void {
  for (const child of living) child.kill('SIGKILL');
}

function readBanner(line: string): Banner | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const value = JSON.parse(line) as Partial<Banner>;
    return value.ready === true && typeof value.url === 'string' ? (value as Banner) : undefined;
  } catch {
    return undefined;
  }
}

export interface Found {
  pid: number;
  command: string;
}

/** Processes whose command line or environment names the folder (Linux; elsewhere none is found). */
export function processesOf(folder: string): Found[] {
  if (!existsSync('/proc/self/stat')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      const read = (file: string): string => {
        try {
          return readFileSync(`/proc/${name}/${file}`, 'utf8');
        } catch {
          return '';
        }
      };
      const state = /^State:\s+(\S)/m.exec(read('status'))?.[1];
      const command = read('cmdline').replaceAll('\0', ' ').trim();
      const ours = command.includes(folder) || read('environ').includes(folder);
      return ours && state !== 'Z' && state !== 'X' ? [{ pid: Number(name), command: command.slice(0, 160) }] : [];
    });
}

/** Cells are processes of their own and outlive the control plane; their pid files say which are still there. */
export function cellProcesses(dataFolder: string): Found[] {
  if (!existsSync(dataFolder)) return [];
  const pidFiles = readdirSync(dataFolder, { recursive: true, encoding: 'utf8' }).filter((name) => basename(name) === 'cell.pid.json');
  return pidFiles.flatMap((name) => {
    try {
      const { pid, startTicks } = JSON.parse(readFileSync(join(dataFolder, name), 'utf8')) as { pid: number; startTicks: string | null };
      return isSame(pid, startTicks) ? [{ pid, command: `the cell of ${dirname(name)}` }] : [];
    } catch {
      return [];
    }
  });
}

/** A number alone may have gone to another process: it is ours when it began at the recorded tick. */
function isSame(pid: number, startTicks: string | null): boolean {
  try {
    if (startTicks !== null) {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] === startTicks;
    }
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** SIGTERM to each, and waits until `find` finds none. Answers those that are left. */
export async function endProcesses(find: () => Found[], withinMs: number, signal: NodeJS.Signals = 'SIGTERM'): Promise<Found[]> {
  for (const { pid } of find()) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended by itself, or is another user's and is told as left over.
    }
  }
  const limit = performance.now() + withinMs;
  for (;;) {
    const left = find();
    if (left.length === 0 || performance.now() > limit) return left;
    await sleep(50);
  }
}
