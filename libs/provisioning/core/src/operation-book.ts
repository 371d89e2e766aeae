/**
 * The part of the port that every driver needs alike: fencing, one effect per operation id, one writer per cluster,
 * visible steps, cooperative cancel. A driver brings the store (memory, files, a cloud's tags) and the work.
 */
import type { Clock } from '#platform';
import type { DriverCall, DriverPhase, DriverResult, ProgressStep } from './call.js';
import { assertClusterRef, assertFence } from './checks.js';
import { DriverError, toDriverError, type DriverErrorShape } from './errors.js';
import { canonicalJson, sha256Hex } from './plan-hash.js';

export interface OperationRecord {
  readonly operationId: string;
  readonly clusterRef: string;
  readonly method: string;
  /** sha256 of the arguments: arguments may hold secrets and are never stored. */
  readonly inputHash: string;
  readonly phase: DriverPhase;
  readonly progress: readonly ProgressStep[];
  readonly output?: unknown;
  readonly error?: DriverErrorShape;
}

/** Where operations and fences outlive the process. */
export interface OperationStore {
  load(operationId: string): Promise<OperationRecord | undefined>;
  save(record: OperationRecord): Promise<void>;
  /** Highest token seen for the cluster, 0 when none; kept after deletion, so that a late writer stays out. */
  fence(clusterRef: string): Promise<number>;
  raiseFence(clusterRef: string, token: number): Promise<void>;
}

/** Given to the work: each step is recorded before and after (contract provisioning §4.3, step ledger). */
export interface Steps {
  /** Runs one step. Throws `operation.cancelled` or `operation.deadline` instead of starting it when that has come. */
  step<T>(name: string, work: () => Promise<T>, detail?: string): Promise<T>;
  skip(name: string, detail?: string): void;
  /** Shows what goes on within a step, for people who wait; kept with the next step. Never a secret. */
  report(name: string, state: ProgressStep['state'], detail?: string): void;
  /** Aborted when the operation is cancelled: for a step that can stop in its middle. It then throws `operation.cancelled`. */
  readonly signal: AbortSignal;
}

interface Running {
  record: OperationRecord;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

/** What the port allows to be executed again under the same id. */
const REPEATABLE: ReadonlySet<string> = new Set(['throttled', 'unknown']);

/** Work that was shut out is told by whoever was overtaken; for the one who has taken over it is not done. */
const isRepeatable = (error: DriverErrorShape | undefined): boolean =>
  error !== undefined && (REPEATABLE.has(error.class) || error.code === 'driver.fenced');

/** Who never asks again does not fill the memory. */
const MOST_UNTOLD = 1_000;

export class OperationBook {
  private readonly running = new Map<string, Running>();
  private readonly lanes = new Map<string, Promise<void>>();
  /** Failures that the port allows to be tried again, and of which nobody has heard yet. */
  private readonly untold = new Map<string, OperationRecord>();

  /** `waitMs`: how long a call waits for quick work before it answers `running`. */
  constructor(
    private readonly store: OperationStore,
    private readonly clock: Clock,
    private readonly waitMs = 400,
  ) {}

  async run<T>(
    call: DriverCall,
    method: string,
    input: unknown,
    refuse: () => Promise<void> | void,
    work: (steps: Steps) => Promise<T>,
  ): Promise<DriverResult<T>> {
    await this.fence(call);
    return this.once(call, method, input, refuse, work, this.lanes);
  }

  /** A call that only looks and takes its time: one answer per operation id, not fenced, and beside the one writer. */
  read<T>(call: DriverCall, method: string, input: unknown, work: (steps: Steps) => Promise<T>): Promise<DriverResult<T>> {
    assertClusterRef(call.clusterRef);
    return this.once(call, method, input, () => undefined, work, new Map());
  }

  private async once<T>(
    call: DriverCall,
    method: string,
    input: unknown,
    refuse: () => Promise<void> | void,
    work: (steps: Steps) => Promise<T>,
    lanes: Map<string, Promise<void>>,
  ): Promise<DriverResult<T>> {
    const inputHash = sha256Hex(canonicalJson([call.clusterRef, method, input]));
    const live = this.running.get(call.operationId);
    const known = live?.record ?? (await this.store.load(call.operationId));
    if (known && known.inputHash !== inputHash)
      throw new DriverError('conflict', 'driver.operation_reused', `Operation ${call.operationId} was another call.`);
    if (live) return this.answer<T>(live);
    // It failed while nobody waited: told once, so that the caller can look before the work is done again.
    const untold = this.untold.get(call.operationId);
    if (untold) {
      this.untold.delete(call.operationId);
      return toResult<T>(untold);
    }
    const repeat = known?.phase === 'running' || (known?.phase === 'failed' && isRepeatable(known.error));
    if (known && !repeat) return toResult<T>(known);
    await refuse();
    // Two calls of one id may both have passed the look-up while the other awaited.
    const raced = this.running.get(call.operationId);
    if (raced) return this.answer<T>(raced);
    return this.answer<T>(this.start(call, method, inputHash, work, lanes));
  }

  /** Asks the work to stop before its next step. */
  async cancel(call: DriverCall, handle: string): Promise<DriverResult> {
    await this.fence(call);
    const live = this.running.get(handle);
    if (live && live.record.clusterRef === call.clusterRef) {
      live.abort.abort();
      await Promise.race([live.done, delay(this.waitMs)]);
    }
    const record = this.running.get(handle)?.record ?? (await this.store.load(handle));
    if (!record || record.clusterRef !== call.clusterRef)
      throw new DriverError('validation', 'operation.not_found', `No operation has the handle ${handle}.`);
    return { handle, phase: record.phase, progress: record.progress, ...(record.error ? { error: record.error } : {}) };
  }

  /** Checks and raises the fence of a call that changes something. */
  async fence(call: DriverCall): Promise<void> {
    assertClusterRef(call.clusterRef);
    const seen = await this.store.fence(call.clusterRef);
    const highest = assertFence(seen, call.fencingToken);
    if (highest > seen) await this.store.raiseFence(call.clusterRef, highest);
  }

  /** Waits until nothing runs any more; for a graceful stop and for tests. */
  async idle(): Promise<void> {
    await Promise.all([...this.running.values()].map((r) => r.done));
  }

  private start<T>(
    call: DriverCall,
    method: string,
    inputHash: string,
    work: (steps: Steps) => Promise<T>,
    lanes: Map<string, Promise<void>>,
  ): Running {
    const record: OperationRecord = {
      operationId: call.operationId,
      clusterRef: call.clusterRef,
      method,
      inputHash,
      phase: 'running',
      progress: [],
    };
    let finish = (): void => undefined;
    const running: Running = { record, abort: new AbortController(), done: new Promise((resolve) => (finish = resolve)) };
    this.running.set(call.operationId, running);
    const before = lanes.get(call.clusterRef) ?? Promise.resolve();
    const mine = before
      .then(() => this.execute(call, running, work))
      .finally(() => {
        this.running.delete(call.operationId);
        if (lanes.get(call.clusterRef) === mine) lanes.delete(call.clusterRef);
        finish();
      });
    // A store that fails leaves the operation `running` on disk: the next call of the same id executes it again.
    mine.catch(() => undefined);
    lanes.set(
      call.clusterRef,
      mine.catch(() => undefined),
    );
    return running;
  }

  private async execute<T>(call: DriverCall, running: Running, work: (steps: Steps) => Promise<T>): Promise<void> {
    const put = async (change: Partial<OperationRecord>): Promise<void> => {
      running.record = { ...running.record, ...change };
      await this.store.save(running.record);
    };
    const mark = (step: ProgressStep): readonly ProgressStep[] => [...running.record.progress.filter((p) => p.step !== step.step), step];
    const show = (step: string, state: ProgressStep['state'], detail?: string): void => {
      const shown: ProgressStep = { step, state, at: this.clock.now().toISOString(), ...(detail ? { detail } : {}) };
      running.record = { ...running.record, progress: mark(shown) };
    };
    const steps: Steps = {
      signal: running.abort.signal,
      step: async (name, run, detail) => {
        if (running.abort.signal.aborted) throw new DriverError('conflict', 'operation.cancelled', `Stopped before step ${name}.`);
        if (call.deadline.getTime() <= realMs())
          throw new DriverError('throttled', 'operation.deadline', `The deadline passed before step ${name}.`);
        const at = (): string => this.clock.now().toISOString();
        const entry = (state: ProgressStep['state']): ProgressStep => ({ step: name, state, at: at(), ...(detail ? { detail } : {}) });
        await put({ progress: mark(entry('running')) });
        try {
          const out = await run();
          await put({ progress: mark(entry('done')) });
          return out;
        } catch (error) {
          await put({ progress: mark(entry('failed')) });
          throw error;
        }
      },
      skip: (name, detail) => show(name, 'skipped', detail),
      report: show,
    };
    try {
      await put({});
      const output = await work(steps);
      await put({ phase: 'succeeded', output });
    } catch (thrown) {
      const error = toDriverError(thrown);
      const phase = error.code === 'operation.cancelled' ? 'cancelled' : 'failed';
      if (phase === 'failed' && REPEATABLE.has(error.class)) this.keepUntold({ ...running.record, phase, error: error.toShape() });
      await put({ phase, error: error.toShape() });
    }
  }

  private async answer<T>(running: Running): Promise<DriverResult<T>> {
    await Promise.race([running.done, delay(this.waitMs)]);
    if (running.record.phase !== 'running') this.untold.delete(running.record.operationId);
    return toResult<T>(running.record);
  }

  private keepUntold(record: OperationRecord): void {
    this.untold.set(record.operationId, record);
    const [oldest] = this.untold.keys();
    if (this.untold.size > MOST_UNTOLD && oldest !== undefined) this.untold.delete(oldest);
  }
}

/** Read here and not by #platform: a small program that uses a driver (the cells' own) shall start without the whole platform. */
// eslint-disable-next-line no-restricted-syntax
const realMs = (): number => Date.now();

function toResult<T>(record: OperationRecord): DriverResult<T> {
  return {
    handle: record.operationId,
    phase: record.phase,
    progress: record.progress,
    ...(record.phase === 'running' ? { retryAfterMs: 200 } : {}),
    ...(record.phase === 'succeeded' ? { output: record.output as T } : {}),
    ...(record.phase === 'failed' && record.error ? { error: record.error } : {}),
  };
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}

/** A result of a call that only reads. */
export function readResult<T>(operationId: string, output: T): DriverResult<T> {
  return { handle: operationId, phase: 'succeeded', progress: [], output };
}

/** In memory: for fakes, and for drivers whose truth is elsewhere. */
export class MemoryOperationStore implements OperationStore {
  private readonly records = new Map<string, OperationRecord>();
  private readonly fences = new Map<string, number>();

  load(operationId: string): Promise<OperationRecord | undefined> {
    return Promise.resolve(this.records.get(operationId));
  }
  save(record: OperationRecord): Promise<void> {
    this.records.set(record.operationId, structuredClone(record));
    return Promise.resolve();
  }
  fence(clusterRef: string): Promise<number> {
    return Promise.resolve(this.fences.get(clusterRef) ?? 0);
  }
  raiseFence(clusterRef: string, token: number): Promise<void> {
    this.fences.set(clusterRef, token);
    return Promise.resolve();
  }
}
