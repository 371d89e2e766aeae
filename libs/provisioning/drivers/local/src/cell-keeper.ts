/** Keeps managed cells running and connected to the usage intake and the clock of today. */
import { DriverError } from '#provisioning/core';
import { callCell, identify } from './cell-client.js';
import type { CellHost } from './cell-host.js';
import type { LocalDriverOptions } from './options.js';
import type { CellFile, ClockTarget, IngestTarget } from './wire.js';

/** A cell that falls over again and again is started less and less often. */
const BACKOFF_MS = { first: 1000, most: 60_000 };

interface Trouble {
  readonly until: number;
  readonly waitMs: number;
}

export class CellKeeper {
  private readonly starting = new Map<string, Promise<{ pid: number; started: boolean }>>();
  private readonly trouble = new Map<string, Trouble>();
  /** What each cell was last told by this process. */
  private readonly told = new Map<string, string>();
  private isPaused = false;

  constructor(
    private readonly host: CellHost,
    private readonly options: LocalDriverOptions,
  ) {}

  async connection(clusterRef: string): Promise<{ ingest: IngestTarget | null; clock: ClockTarget | null }> {
    const { ingest, cellClock } = this.options;
    return { ingest: typeof ingest === 'function' ? await ingest(clusterRef) : ingest, clock: cellClock ?? null };
  }

  /** Adopts or starts; two callers at once share one start. */
  run(folder: string, cell: CellFile): Promise<{ pid: number; started: boolean }> {
    if (cell.halted) return Promise.reject(new DriverError('conflict', 'cell.halted', `Cell ${cell.cellId} is being deleted or replaced.`));
    const running = this.starting.get(folder);
    if (running) return running;
    const mine = this.start(folder, cell).finally(() => this.starting.delete(folder));
    this.starting.set(folder, mine);
    return mine;
  }

  async supervise(): Promise<{ restarted: string[]; failed: { clusterRef: string; detail: string }[] }> {
    const restarted: string[] = [];
    const failed: { clusterRef: string; detail: string }[] = [];
    if (this.isPaused) return { restarted, failed };
    await Promise.all(
      this.host.folders().map(async (folder) => {
        const cell = this.host.read(folder);
        if (!cell?.managed || cell.halted || (this.trouble.get(folder)?.until ?? 0) > performance.now()) return;
        try {
          const { started } = await this.run(folder, cell);
          if (started) restarted.push(cell.clusterRef);
          // One start is bad luck; the next one within its time is a loop.
          if (started) this.backOff(folder);
          else this.trouble.delete(folder);
        } catch (error) {
          this.backOff(folder);
          failed.push({ clusterRef: cell.clusterRef, detail: error instanceof Error ? error.message : String(error) });
        }
      }),
    );
    return { restarted, failed };
  }

  /** From here on nobody starts it; a start on its way has ended when this resolves. */
  async halt(folder: string, cell: CellFile): Promise<CellFile> {
    const halted = { ...cell, halted: true };
    this.host.write(folder, halted);
    await this.starting.get(folder)?.catch(() => undefined);
    return halted;
  }

  async pause(): Promise<void> {
    this.isPaused = true;
    await Promise.allSettled(this.starting.values());
  }

  private async start(folder: string, cell: CellFile): Promise<{ pid: number; started: boolean }> {
    // The quick way for the usual case: it runs and it knows.
    const alive = await identify(cell);
    const outcome = alive?.ready ? { pid: alive.pid, started: false } : await this.host.ensureRunning(folder, cell);
    if (this.options.leaveConnections) return outcome;
    const connection = await this.connection(cell.clusterRef);
    const text = JSON.stringify([connection, outcome.pid]);
    if (this.told.get(folder) !== text) {
      await callCell(cell, 'POST', '/connect', connection);
      this.told.set(folder, text);
    }
    return outcome;
  }

  private backOff(folder: string): void {
    const waitMs = Math.min((this.trouble.get(folder)?.waitMs ?? BACKOFF_MS.first / 2) * 2, BACKOFF_MS.most);
    this.trouble.set(folder, { waitMs, until: performance.now() + waitMs });
  }
}
