/** What the chapters share: the running processes, the purchases, and the demo's own notes to compare with. */
import { appendFileSync, chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Buyer, Order, Purchase } from './buyers/buyer.js';
import type { DemoConfig } from './config.js';
import { ControlPlane } from './control-plane.js';
import type { Sandbox } from './sandbox.js';
import { Program, cellProcesses, endProcesses, processesOf, stopAll } from './support/processes.js';
import { Seeded } from './support/random.js';
import type { Report } from './support/report.js';

/** A socket's path may have 107 bytes; ours end at most 60 bytes below the folder for temporary files. */
const LONGEST_TEMPORARY = 45;

export class World {
  readonly folder: string;
  readonly random: Seeded;
  readonly purchases: Purchase[] = [];
  readonly buyers: Buyer[] = [];
  /** Peak memory and start time of each life of the control plane. */
  readonly lives: { startMs: unknown; peakMiB: number | null; end: string }[] = [];
  /** The business day on which the story plays, `YYYY-MM-DD`. */
  day = '';
  sandbox!: Sandbox;
  sandboxProgram: Program | undefined;
  controlPlane!: ControlPlane;
  program: Program | undefined;
  private isEnding = false;
  private starting: Promise<Program> | undefined;
  private controlPlaneEnv: Record<string, string> = {};

  constructor(
    readonly config: DemoConfig,
    readonly report: Report,
  ) {
    this.random = new Seeded(config.seed);
    this.folder = mkdtempSync(join(tmpdir(), 'berth-demo-'));
    // The embedded Postgres may run as another user and must be able to pass through; what is secret has its own mode.
    chmodSync(this.folder, 0o711);
    mkdirSync(join(this.folder, 't'));
    chmodSync(join(this.folder, 't'), 0o1777);
  }

  get dataFolder(): string {
    return join(this.folder, 'berth');
  }

  logFile(name: string): string {
    return join(this.folder, `${name}.log`);
  }

  /** Also the mark by which left-over processes are found: each carries the folder's name in its environment. */
  environment(): Record<string, string> {
    const own = join(this.folder, 't');
    return {
      ...this.config.environment,
      TZ: 'UTC',
      BERTH_DEMO_FOLDER: this.folder,
      ...(own.length <= LONGEST_TEMPORARY + 20 ? { TMPDIR: own } : {}),
    };
  }

  async startSandbox(): Promise<Program> {
    const env = { ...this.environment(), SANDBOX_PORT: '0', SANDBOX_DATA: join(this.folder, 'sandbox') };
    return (this.sandboxProgram = await Program.start('the sandbox', this.config.sandboxProgram, env, this.logFile('sandbox')));
  }

  /** The first start takes a free port; later ones take the same again, because cells and marketplaces know it. */
  async startControlPlane(): Promise<Program> {
    if (this.isEnding) throw new Error('the run is ending');
    if (Object.keys(this.controlPlaneEnv).length === 0) {
      const settings = await Promise.all(this.buyers.map((buyer) => buyer.environment()));
      this.controlPlaneEnv = Object.assign(
        {
          BERTH_DATA: this.dataFolder,
          PORT: '0',
          BERTH_SANDBOX_URL: this.sandbox.http.base,
          BERTH_LOG: 'warn',
          BERTH_RELAXED_DURABILITY: 'false',
        },
        ...settings,
      ) as Record<string, string>;
    }
    const env = { ...this.environment(), ...this.controlPlaneEnv };
    this.starting = Program.start('the control plane', this.config.controlPlaneProgram, env, this.logFile('control-plane')).then(
      (started) => (this.program = started),
    );
    const program = await this.starting;
    this.controlPlaneEnv['PORT'] = new URL(program.banner.url).port;
    const keyFile = program.banner['operatorKeyFile'];
    if (typeof keyFile !== 'string' || !existsSync(keyFile)) throw new Error('the control plane names no operator key file');
    this.controlPlane = new ControlPlane(program.banner.url, readFileSync(keyFile, 'utf8').trim());
    return program;
  }

  noteEndOfLife(end: string): void {
    if (this.program) this.lives.push({ startMs: this.program.banner['startMs'], peakMiB: this.program.peakMemoryMiB(), end });
  }

  buyerOf(purchase: Pick<Purchase, 'marketplace'>): Buyer {
    const found = this.buyers.find((one) => one.marketplace === purchase.marketplace);
    if (!found) throw new Error(`nobody buys on ${purchase.marketplace}`);
    return found;
  }

  purchase(label: string): Purchase {
    const found = this.purchases.find((one) => one.label === label);
    if (!found) throw new Error(`there is no purchase ${label}`);
    return found;
  }

  add(buyer: Buyer, order: Order, bought: { externalId: string; sessionId: string }): Purchase {
    // Filled in as the story learns it; a chapter that asks too early finds the purchase without it.
    const purchase = {
      label: order.label,
      order,
      marketplace: buyer.marketplace,
      ...bought,
      subscriptionId: '',
      tenantId: '',
      blobs: new Map(),
    } as unknown as Purchase;
    this.purchases.push(purchase);
    return purchase;
  }

  logTail(name: string, lines = 25): string[] {
    const file = this.logFile(name);
    return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines) : [];
  }

  note(name: string, line: string): void {
    appendFileSync(this.logFile(name), `${line}\n`);
  }

  /** An instant of the story's business day, `HH:MM` UTC. */
  at(clockTime: string): Date {
    return new Date(`${this.day}T${clockTime}:00.000Z`);
  }

  /** Ends everything that was started. Answers what did not go as it should. */
  async end(): Promise<string[]> {
    this.isEnding = true;
    const faults: string[] = [];
    // Ended in the middle of its start it would leave its database behind.
    await this.starting?.catch(() => undefined);
    if (this.program?.isAlive) {
      this.noteEndOfLife('stopped');
      if (!(await this.program.stop())) faults.push('the control plane did not stop by itself within 20 s');
    }
    // By design cells outlive the control plane; this installation ends here, and they with it.
    await endProcesses(() => cellProcesses(join(this.dataFolder, 'cells')), 15_000);
    if (this.sandboxProgram && !(await this.sandboxProgram.stop(10_000))) faults.push('the sandbox did not stop by itself within 10 s');
    await stopAll(10_000);
    const left = await waitForNone(this.folder);
    for (const { pid, command } of left) faults.push(`still running at the end: ${pid} ${command}`);
    if (left.length > 0) await endProcesses(() => processesOf(this.folder), 3_000, 'SIGKILL');
    if (!this.config.keep) rmSync(this.folder, { recursive: true, force: true, maxRetries: 3, retryDelay: 100 });
    return faults;
  }
}

/** Helpers of a server end a moment after it. */
async function waitForNone(folder: string): Promise<{ pid: number; command: string }[]> {
  const limit = performance.now() + 5_000;
  for (;;) {
    const left = processesOf(folder);
    if (left.length === 0 || performance.now() > limit) return left;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
