/** Runs of terraform: how many at once, under which credential, and that nothing of an older writer is left when one begins. */
import { realNow } from '#platform';
import { assertSpec, DriverError, type ClusterSpec, type DriverCall, type DriverCapabilities, type Steps } from '#provisioning/core';
import type { RootModule } from './modules.js';
import { READ_MS, RUN_MS, type TerraformDriverOptions } from './options.js';
import { BinaryFinder } from './run/binary.js';
import { endLeftovers } from './run/groups.js';
import { removeLeftFolders, Workspace, writerMark } from './run/workspace.js';

const PARALLEL = 4;
const GRACE_MS = 20_000;
const LEASE_MS = 10 * 60_000;

export interface Target {
  readonly module: RootModule;
  readonly spec: ClusterSpec;
}

/** The root module that builds this spec. Refuses one that the driver cannot build, as `assertSpec` does. */
export function targetOf(spec: ClusterSpec, modules: readonly RootModule[], can: DriverCapabilities): Target {
  assertSpec(spec, can);
  return { module: modules.find((m) => m.shapes.some((s) => s.name === spec.shape))!, spec };
}

export class Runs {
  readonly binary: BinaryFinder;
  /** The writer that this process has at a cluster now. */
  private readonly writers = new Map<
    string,
    { readonly operationId: string; readonly credentialId: string; readonly overtaken: AbortController }
  >();
  /** The token under which each operation was last asked for: while it waits for its turn the engine renews its lease. */
  private readonly tokens = new Map<string, number>();
  private active = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly options: TerraformDriverOptions) {
    this.binary = new BinaryFinder(options.binary ?? null, options.searchPath);
  }

  /** Looks only: may read the state and never write it. */
  read<T>(call: DriverCall, target: Target, steps: Steps, work: (workspace: Workspace) => Promise<T>): Promise<T> {
    return this.inTurn(steps.signal, async () => {
      const expiresAt = new Date(realNow().getTime() + READ_MS);
      return this.within(call, target, 'read', steps.signal, expiresAt, (workspace) => work(workspace));
    });
  }

  /** The one writer of the cluster; `credentialId` proves it when what was done is recorded. */
  write<T>(call: DriverCall, target: Target, steps: Steps, work: (workspace: Workspace, credentialId: string) => Promise<T>): Promise<T> {
    return this.inTurn(steps.signal, async () => {
      const { workRoot } = this.options;
      await steps.step('end_leftovers', async () => {
        await endLeftovers(writerMark(workRoot, call.clusterRef));
        removeLeftFolders(workRoot, call.clusterRef);
      });
      return this.within(call, target, 'write', steps.signal, this.lease(), work);
    });
  }

  /**
   * The engine gives its lease back while it waits, and asks again under a higher token: the same operation goes on under that. Call
   * it before the fence is raised. Where another has taken over meanwhile, the work is stopped at once.
   */
  async carry(call: DriverCall, operationId: string): Promise<void> {
    this.tokens.set(operationId, Math.max(call.fencingToken, this.tokens.get(operationId) ?? 0));
    const writer = this.writers.get(call.clusterRef);
    if (!writer || writer.operationId !== operationId) return;
    if (!(await this.options.runs.carry(writer.credentialId, call.fencingToken, this.lease()))) writer.overtaken.abort();
  }

  /** Nobody asks for this operation any more. */
  forget(operationId: string): void {
    this.tokens.delete(operationId);
  }

  private lease(): Date {
    return new Date(realNow().getTime() + (this.options.leaseMs ?? LEASE_MS));
  }

  private async within<T>(
    call: DriverCall,
    { module, spec }: Target,
    mode: 'read' | 'write',
    cancelled: AbortSignal,
    expiresAt: Date,
    work: (workspace: Workspace, credentialId: string) => Promise<T>,
  ): Promise<T> {
    const { options } = this;
    const { clusterRef, operationId } = call;
    const binary = await this.binary.find();
    const fencingToken = this.tokens.get(operationId) ?? call.fencingToken;
    const credential = await options.runs.issue({ clusterRef, operationId, fencingToken, mode, expiresAt });
    const overtaken = new AbortController();
    if (mode === 'write') this.writers.set(clusterRef, { operationId, credentialId: credential.id, overtaken });
    const workspace = new Workspace(
      {
        workRoot: options.workRoot,
        binary: binary.path,
        searchPath: options.searchPath,
        providerMirror: options.providerMirror ?? null,
        backendUrl: options.backendUrl(),
        graceMs: options.graceMs ?? GRACE_MS,
        timeoutMs: options.runTimeoutMs ?? RUN_MS,
        signal: AbortSignal.any([cancelled, overtaken.signal]),
        onLog: (level, message) => options.onLog?.({ clusterRef, operationId, level, message }),
      },
      { clusterRef, module, spec, credential, fencingToken, mode },
    );
    try {
      await workspace.init();
      return await work(workspace, credential.id);
    } catch (error) {
      if (overtaken.signal.aborted)
        throw new DriverError('conflict', 'driver.fenced', 'Another worker has taken over; the run was stopped.');
      throw error;
    } finally {
      if (this.writers.get(clusterRef)?.credentialId === credential.id) this.writers.delete(clusterRef);
      workspace.remove();
      await options.runs.end(credential.id);
    }
  }

  private async inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (this.active >= (this.options.parallel ?? PARALLEL)) await new Promise<void>((go) => this.waiting.push(go));
    else this.active += 1;
    try {
      if (signal.aborted) throw new DriverError('conflict', 'operation.cancelled', 'Stopped before its turn.');
      return await work();
    } finally {
      // The turn is handed on, so that nobody comes between.
      const next = this.waiting.shift();
      if (next) next();
      else this.active -= 1;
    }
  }
}
