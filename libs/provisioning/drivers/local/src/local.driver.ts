/** The port over cells on this machine. Domain model and limits: README. */
import type { Clock } from '#platform';
import {
  assertClusterRef,
  assertConfiguration,
  assertDeleteConfirmed,
  assertGeneration,
  assertSpec,
  assertVersion,
  DriverError,
  OperationBook,
  readResult,
  type ApplyOutcome,
  type ApplyRequest,
  type ClusterObservation,
  type ClusterSpec,
  type ConfigureOutcome,
  type DeleteOutcome,
  type DeleteRequest,
  type DesiredConfiguration,
  type DriverCall,
  type DriverCapabilities,
  type DriverPlan,
  type DriverResult,
  type FleetCall,
  type InventoryReport,
  type LastSample,
  type PreflightReport,
  type ProbeAccess,
  type ProvisioningDriver,
  type ResumeRequest,
  type SuspendOutcome,
  type SuspendRequest,
  type ValidationReport,
} from '#provisioning/core';
import { CellBuilds } from './build-cell.js';
import { callCell } from './cell-client.js';
import { CellFolders } from './cell-folders.js';
import { CellHost } from './cell-host.js';
import { CellKeeper } from './cell-keeper.js';
import { defaultCellEntry, LOCAL_CAPABILITIES, type LocalDriverOptions } from './options.js';
import { FileOperationStore } from './file-operation-store.js';
import { CellUpgrades } from './upgrade-cell.js';
import { closeProbe, endpointOf, listInventory, observeCell, openProbe, proveCell, sweep } from './observe-cell.js';
import { makePlan } from './plan-cell.js';
import type { CellConfigureAnswer, CellConfigureRequest } from './wire.js';

export class LocalDriver implements ProvisioningDriver {
  private readonly host: CellHost;
  private readonly keeper: CellKeeper;
  private readonly folders: CellFolders;
  private readonly upgrades: CellUpgrades;
  private readonly builds: CellBuilds;
  private readonly book: OperationBook;
  private readonly clock: Clock;

  constructor(options: LocalDriverOptions) {
    this.clock = options.clock;
    this.host = new CellHost(options.rootFolder, options.cellEntry ?? defaultCellEntry(), options.nodePath ?? process.execPath);
    this.book = new OperationBook(new FileOperationStore(options.rootFolder), options.clock);
    this.keeper = new CellKeeper(this.host, options);
    this.folders = new CellFolders(this.host, this.keeper, options);
    this.upgrades = new CellUpgrades(this.host, this.keeper, this.folders);
    this.builds = new CellBuilds(this.host, this.keeper, this.folders, this.upgrades, options.clock);
  }

  capabilities(): DriverCapabilities {
    return LOCAL_CAPABILITIES;
  }

  async preflight(call: DriverCall, spec: ClusterSpec): Promise<DriverResult<PreflightReport>> {
    assertClusterRef(call.clusterRef);
    assertSpec(spec, LOCAL_CAPABILITIES);
    const room = this.host.find(call.clusterRef) !== undefined || this.host.folders().length < this.folders.maxCells;
    return readResult(call.operationId, {
      checks: [
        {
          name: 'cells',
          result: room ? 'pass' : 'fail',
          detail: `${this.host.folders().length} of ${this.folders.maxCells} cells are in use.`,
        },
      ],
      ok: room,
    });
  }

  async plan(call: DriverCall, spec: ClusterSpec): Promise<DriverResult<DriverPlan>> {
    assertClusterRef(call.clusterRef);
    assertSpec(spec, LOCAL_CAPABILITIES);
    return readResult(call.operationId, makePlan(call.clusterRef, spec, this.host.find(call.clusterRef)?.cell, this.clock.now()));
  }

  apply(call: DriverCall, request: ApplyRequest): Promise<DriverResult<ApplyOutcome>> {
    return this.book.run(
      call,
      'apply',
      request,
      () => this.builds.assertBuildable(call, request),
      (steps) => this.builds.run(call, request, steps),
    );
  }

  configure(call: DriverCall, desired: DesiredConfiguration): Promise<DriverResult<ConfigureOutcome>> {
    const check = (): void => {
      assertConfiguration(desired, LOCAL_CAPABILITIES.maxPlacements);
      assertGeneration(this.folders.desiredOf(this.folders.must(call.clusterRef).folder)?.generation ?? null, call.generation);
    };
    return this.book.run(call, 'configure', { desired, generation: call.generation }, check, async (steps) => {
      const { folder, cell } = this.folders.must(call.clusterRef);
      await steps.step('ensure_running', () => this.keeper.run(folder, cell));
      const body: CellConfigureRequest = {
        generation: call.generation,
        ...(await this.keeper.connection(cell.clusterRef)),
        placements: desired.placements,
        purge: desired.purge,
      };
      const answer = await steps.step('configure_cell', () => callCell<CellConfigureAnswer>(cell, 'POST', '/configure', body, 30_000));
      return {
        generation: call.generation,
        lastSamples: answer.lastSamples,
        purged: desired.purge,
        endpoints: desired.placements.map((p) => ({
          placementId: p.placementId,
          accountName: p.accountName,
          endpoint: endpointOf(cell, p.accountName),
        })),
      };
    });
  }

  validate(call: DriverCall): Promise<DriverResult<ValidationReport>> {
    return this.book.run(
      call,
      'validate',
      {},
      () => void this.folders.must(call.clusterRef),
      (steps) => steps.step('probe', () => proveCell(this.folders.must(call.clusterRef).cell)),
    );
  }

  async openProbe(call: DriverCall, request: { readonly lifeMs: number }): Promise<DriverResult<ProbeAccess>> {
    return readResult(call.operationId, await openProbe(this.folders.must(call.clusterRef).cell, request.lifeMs));
  }

  async closeProbe(call: DriverCall, request: { readonly accountName: string }): Promise<DriverResult> {
    await closeProbe(this.host.find(call.clusterRef)?.cell, request.accountName);
    return readResult(call.operationId, undefined);
  }

  suspend(call: DriverCall, request: SuspendRequest): Promise<DriverResult<SuspendOutcome>> {
    const check = (): void => {
      if (request.kind !== 'access')
        throw new DriverError('unsupported', 'suspend.kind', 'A cell can end access, and has no keys of its own to withdraw.');
      this.folders.must(call.clusterRef);
    };
    return this.book.run(call, 'suspend', request, check, async (steps) => {
      const { folder, cell } = this.folders.must(call.clusterRef);
      await steps.step('ensure_running', () => this.keeper.run(folder, cell));
      return {
        lastSample: await steps.step('end_access', () =>
          callCell<LastSample>(cell, 'POST', '/suspend', { placementId: request.placementId }, 30_000),
        ),
      };
    });
  }

  resume(call: DriverCall, request: ResumeRequest): Promise<DriverResult> {
    return this.book.run(
      call,
      'resume',
      request,
      () => void this.folders.must(call.clusterRef),
      async (steps) => {
        const { folder, cell } = this.folders.must(call.clusterRef);
        await steps.step('ensure_running', () => this.keeper.run(folder, cell));
        await steps.step('open_access', () => callCell(cell, 'POST', '/resume', { placementId: request.placementId }));
        return undefined;
      },
    );
  }

  upgrade(call: DriverCall, request: { readonly version: string }): Promise<DriverResult> {
    const refuse = (): void => {
      this.folders.must(call.clusterRef);
      assertVersion(request.version, LOCAL_CAPABILITIES);
    };
    return this.book.run(call, 'upgrade', request, refuse, (steps) => this.upgrades.run(call.clusterRef, request.version, steps));
  }

  delete(call: DriverCall, request: DeleteRequest): Promise<DriverResult<DeleteOutcome>> {
    return this.book.run(
      call,
      'delete',
      request,
      () => {
        assertDeleteConfirmed(call.clusterRef, request.confirm);
        this.folders.assertManaged(call.clusterRef);
      },
      async (steps) => {
        const found = this.host.find(call.clusterRef);
        if (found)
          await steps.step('stop_cell', async () => this.host.stop(found.folder, await this.keeper.halt(found.folder, found.cell)));
        // Also a folder without a readable record, which a broken-off creation leaves behind.
        await steps.step('remove_folder', async () => this.host.remove(found?.folder ?? this.host.folderOf(call.clusterRef)));
        // "Not found" is believed only after a sweep by label (contract provisioning §3.4).
        return steps.step('sweep', () => sweep(this.host, found?.folder ?? this.host.folderOf(call.clusterRef), call.clusterRef));
      },
    );
  }

  async observe(call: DriverCall): Promise<DriverResult<ClusterObservation>> {
    assertClusterRef(call.clusterRef);
    return readResult(call.operationId, await observeCell(this.host, call.clusterRef, this.clock.now()));
  }

  async inventory(call: FleetCall): Promise<DriverResult<InventoryReport>> {
    return readResult(call.operationId, await listInventory(this.host));
  }

  import(call: DriverCall, request: { readonly externalId: string }): Promise<DriverResult> {
    const find = () => this.folders.importable(call.clusterRef, request.externalId);
    return this.book.run(
      call,
      'import',
      request,
      () => void find(),
      (steps) =>
        steps.step('adopt', async () => {
          const { folder, cell } = find();
          const adopted = { ...cell, clusterRef: call.clusterRef, managed: true, serial: cell.serial + 1 };
          this.host.write(folder, adopted);
          await this.keeper.run(folder, adopted);
          return undefined;
        }),
    );
  }

  release(call: DriverCall): Promise<DriverResult> {
    return this.book.run(
      call,
      'release',
      {},
      () => void this.folders.must(call.clusterRef),
      (steps) =>
        steps.step('let_go', async () => {
          const { folder, cell } = this.folders.must(call.clusterRef);
          this.host.write(folder, { ...cell, managed: false, serial: cell.serial + 1 });
          return undefined;
        }),
    );
  }

  cancel(call: DriverCall, handle: string): Promise<DriverResult> {
    return this.book.cancel(call, handle);
  }

  /** A sample of one or all placements at this instant, posted with its watermark. Not part of the port: the local driver meters. */
  async sampleNow(clusterRef: string, placementId?: string): Promise<{ at: string; sequence: string; acknowledged: boolean }> {
    return callCell(this.folders.must(clusterRef).cell, 'POST', '/samples', placementId === undefined ? {} : { placementId });
  }

  specOf = async (clusterRef: string): Promise<ClusterSpec | undefined> => this.host.find(clusterRef)?.cell.spec;

  /** Starts each managed cell that is down, and tells the others where usage goes now. Call it at start-up and every few seconds. */
  supervise(): Promise<{ restarted: readonly string[]; failed: readonly { clusterRef: string; detail: string }[] }> {
    return this.keeper.supervise();
  }

  /** Adopts or starts one cell. */
  async ensureRunning(clusterRef: string): Promise<{ pid: number; started: boolean }> {
    const { folder, cell } = this.folders.must(clusterRef);
    return this.keeper.run(folder, cell);
  }

  /** Stops every cell under the root; data stays. For tests, demos and leaving the machine. */
  async shutdownAll(): Promise<void> {
    await this.book.idle();
    await this.keeper.pause();
    await Promise.all(
      this.host.folders().map(async (folder) => {
        const cell = this.host.read(folder);
        if (cell) await this.host.stop(folder, cell);
      }),
    );
  }
}
