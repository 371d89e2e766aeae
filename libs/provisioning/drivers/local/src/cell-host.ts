/**
 * Cells as folders and processes of this machine. A pid alone proves nothing: a process is ours when it began at the
 * recorded tick, or proves the nonce at the admin port. Nothing else is ever adopted or killed.
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { DriverError } from '#provisioning/core';
import { callCell, identify } from './cell-client.js';
import { cellPaths, processStartTicks, readJson, removeSocketFolder, writeJsonAtomic } from './files.js';
import { releaseOf } from './version.js';
import type { CellFile, PidFile } from './wire.js';

const START_MS = 20_000;
const STOP_MS = 15_000;
/** A larger log is put aside at the next start; one old log is kept. */
const LOG_BYTES = 8 * 1024 * 1024;
/** Below the range from which the kernel picks ports for outgoing connections, which could take a kept port of a dead cell. */
const PORTS = { from: 18_000, to: 30_000 };

export interface LabelledProcess {
  readonly pid: number;
  readonly folder: string;
}

export class CellHost {
  readonly cells: string;

  constructor(
    root: string,
    private readonly cellEntry: string,
    private readonly nodePath: string,
  ) {
    this.cells = join(resolve(root), 'cells');
    mkdirSync(this.cells, { recursive: true, mode: 0o700 });
  }

  folders(): string[] {
    return readdirSync(this.cells)
      .sort()
      .map((name) => join(this.cells, name));
  }

  /** The cell of a cluster, by the record in its folder. */
  find(clusterRef: string): { folder: string; cell: CellFile } | undefined {
    for (const folder of this.folders()) {
      const cell = this.read(folder);
      if (cell?.clusterRef === clusterRef) return { folder, cell };
    }
    return undefined;
  }

  folderOf(cellId: string): string {
    return join(this.cells, cellId);
  }

  read(folder: string): CellFile | undefined {
    return readJson<CellFile>(cellPaths(folder).cell);
  }

  write(folder: string, cell: CellFile): void {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeJsonAtomic(cellPaths(folder).cell, cell);
  }

  /** Pid of the living process that is this cell; null when there is none. */
  async pidOf(folder: string, cell: CellFile): Promise<number | null> {
    const record = readJson<PidFile>(cellPaths(folder).pid);
    if (record?.cellId === cell.cellId && record.startTicks !== null && record.startTicks === processStartTicks(record.pid))
      return record.pid;
    return (await identify(cell))?.pid ?? null;
  }

  /** Adopts the running process, or starts one, and waits until it serves. `started` tells which. */
  async ensureRunning(folder: string, cell: CellFile): Promise<{ pid: number; started: boolean }> {
    let started = false;
    let failure = '';
    let pid = await this.pidOf(folder, cell);
    if (pid === null) {
      started = true;
      pid = await this.spawn(folder, cell, (reason) => (failure = reason));
    }
    const until = performance.now() + START_MS;
    while (performance.now() < until) {
      const identity = await identify(cell);
      if (identity?.ready) return { pid: identity.pid, started };
      if (failure !== '' && !identity)
        throw new DriverError('unknown', 'cell.start_failed', `The cell ended while it started (${failure}). ${this.lastLog(folder)}`);
      await pause(50);
    }
    throw new DriverError('unknown', 'cell.not_ready', `The cell was not ready after ${START_MS} ms. ${this.lastLog(folder)}`);
  }

  /** Graceful first: SIGKILL loses what Azurite has not saved. Resolves when no process of this cell is left. */
  async stop(folder: string, cell: CellFile): Promise<void> {
    const pid = await this.pidOf(folder, cell);
    if (pid === null) return;
    const ticks = processStartTicks(pid);
    const isSame = (): boolean => (ticks === null ? isAlive(pid) : processStartTicks(pid) === ticks);
    const asked = await callCell(cell, 'POST', '/stop', {}, 3000).then(
      () => true,
      () => false,
    );
    if (!asked && isSame()) signal(pid, 'SIGTERM');
    if (await waitUntil(() => !isSame(), STOP_MS)) return;
    if (isSame()) signal(pid, 'SIGKILL');
    if (!(await waitUntil(() => !isSame(), 3000)))
      throw new DriverError('unknown', 'cell.does_not_stop', `Process ${pid} of cell ${cell.cellId} does not end.`);
  }

  /** Removes everything of a stopped cell. */
  remove(folder: string): void {
    if (dirname(resolve(folder)) !== this.cells) throw new Error('not a cell folder');
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    removeSocketFolder(folder);
  }

  /** Processes that carry our label and lie under our root, also those whose folder is gone (Linux only). */
  labelled(): LabelledProcess[] {
    if (!existsSync('/proc/self/cmdline')) return [];
    return readdirSync('/proc')
      .filter((name) => /^[0-9]+$/.test(name))
      .flatMap((name) => {
        const folder = this.labelOf(Number(name));
        return folder ? [{ pid: Number(name), folder }] : [];
      });
  }

  /** Ends a process that `labelled` found; its label is read again right before. */
  killLabelled(found: LabelledProcess): void {
    if (this.labelOf(found.pid) === found.folder) signal(found.pid, 'SIGKILL');
  }

  /** Two free ports that no other cell keeps. */
  async pickPorts(): Promise<[number, number]> {
    const kept = new Set(
      this.folders().flatMap((f) => {
        const cell = this.read(f);
        return cell ? [cell.gatewayPort, cell.adminPort] : [];
      }),
    );
    const found: number[] = [];
    for (let i = 0; i < 500 && found.length < 2; i += 1) {
      const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from));
      if (!kept.has(port) && !found.includes(port) && (await isFree(port))) found.push(port);
    }
    if (found.length < 2) throw new DriverError('quota', 'cell.no_port', `No two free ports between ${PORTS.from} and ${PORTS.to}.`);
    return [found[0]!, found[1]!];
  }

  private async spawn(folder: string, cell: CellFile, onEnd: (reason: string) => void): Promise<number> {
    if (!existsSync(this.cellEntry))
      throw new DriverError('validation', 'cell.not_built', `The cell's program is not at ${this.cellEntry}: build first.`);
    const logPath = cellPaths(folder).log;
    if (existsSync(logPath) && statSync(logPath).size > LOG_BYTES) renameSync(logPath, `${logPath}.1`);
    const log = openSync(logPath, 'a', 0o600);
    try {
      // A group of its own and no pipe to us: it lives on when we are killed. An environment without our secrets.
      const child = spawn(
        this.nodePath,
        [this.cellEntry, folder, `--berth-cell=${cell.cellId}`, `--release=${releaseOf(cell.spec.version).version}`],
        {
          detached: true,
          stdio: ['ignore', log, log],
          cwd: folder,
          env: { TMPDIR: tmpdir(), TZ: 'UTC', ...runMark() },
        },
      );
      child.on('error', (error) => onEnd(error.message));
      child.on('exit', (code, sig) => onEnd(`exit ${code ?? sig}`));
      child.unref();
      await new Promise((done) => setImmediate(done));
      if (child.pid === undefined) throw new DriverError('unknown', 'cell.start_failed', `${this.nodePath} could not be started.`);
      return child.pid;
    } finally {
      closeSync(log);
    }
  }

  private labelOf(pid: number): string | undefined {
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      const folder = args[2];
      if (!folder || args[3] !== `--berth-cell=${basename(folder)}` || dirname(resolve(folder)) !== this.cells) return undefined;
      return processStartTicks(pid) === null ? undefined : folder;
    } catch {
      return undefined;
    }
  }

  private lastLog(folder: string): string {
    try {
      return readFileSync(cellPaths(folder).log, 'utf8').slice(-300).replaceAll('\n', ' | ');
    } catch {
      return '';
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function signal(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself.
  }
}

async function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(false));
    server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
  });
}

async function waitUntil(condition: () => boolean, ms: number): Promise<boolean> {
  const until = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > until) return false;
    await pause(30);
  }
  return true;
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

/** The mark of the run that started us, where there is one: leftovers of a demo or a test are found by it. It is no secret. */
function runMark(): Record<string, string> {
  const mark = process.env['BERTH_RUN_ID'];
  return mark ? { BERTH_RUN_ID: mark } : {};
}
