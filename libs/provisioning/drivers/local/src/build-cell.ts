import { rmSync } from 'node:fs';
import type { Clock } from '#platform';
import {
  assertApplicable,
  assertSpec,
  DriverError,
  planHash,
  type ApplyOutcome,
  type ApplyRequest,
  type DriverCall,
  type Steps,
} from '#provisioning/core';
import type { CellFolders } from './cell-folders.js';
import type { CellHost } from './cell-host.js';
import type { CellKeeper } from './cell-keeper.js';
import { cellPaths } from './files.js';
import { LOCAL_CAPABILITIES } from './options.js';
import { destructionOf, readArtefact } from './plan-cell.js';
import type { CellUpgrades } from './upgrade-cell.js';

/** Makes of a cell what an approved plan says: its folder, its process, and where the plan replaces it, nothing of its data. */
export class CellBuilds {
  constructor(
    private readonly host: CellHost,
    private readonly keeper: CellKeeper,
    private readonly folders: CellFolders,
    private readonly upgrades: CellUpgrades,
    private readonly clock: Clock,
  ) {}

  /** `plan.tampered`, what `assertSpec` and `assertApplicable` refuse, and `cluster.too_many` (quota). */
  assertBuildable(call: DriverCall, request: ApplyRequest): void {
    const { plan } = request;
    if (planHash(plan.artefact, plan.stateSerial) !== plan.hash)
      throw new DriverError('validation', 'plan.tampered', 'The hash is not that of the artefact.');
    const found = this.host.find(call.clusterRef);
    const { spec } = readArtefact(plan.artefact);
    assertSpec(spec, LOCAL_CAPABILITIES);
    // Destruction is read from the plan's own content, never from the flags the caller could have changed.
    const truth = { ...plan, ...destructionOf(plan, found?.cell) };
    assertApplicable({ ...request, plan: truth }, found?.cell.serial ?? 0, this.clock.now());
    if (!found && this.host.folders().length >= this.folders.maxCells)
      throw new DriverError('quota', 'cluster.too_many', `This machine takes ${this.folders.maxCells} cells.`);
  }

  async run(call: DriverCall, request: ApplyRequest, steps: Steps): Promise<ApplyOutcome> {
    const { spec, replace } = readArtefact(request.plan.artefact);
    const want = request.plan.stateSerial + 1;
    await steps.step('write_folder', () => this.folders.write(call.clusterRef, spec, want));
    const { folder, cell } = this.folders.must(call.clusterRef);
    if (cell.serial !== want) throw new DriverError('conflict', 'plan.stale', `The state is ${cell.serial}.`);
    if (replace) {
      await steps.step('stop_cell', async () => this.host.stop(folder, await this.keeper.halt(folder, cell)));
      // Counters stay: usage that was counted does not go away with the data.
      await steps.step('remove_data', async () => rmSync(cellPaths(folder).blobs, { recursive: true, force: true }));
    }
    const ready = { ...cell, halted: false };
    this.host.write(folder, ready);
    await steps.step(
      'start_cell',
      () => this.keeper.run(folder, ready),
      'Adopts a running process or starts one, and waits until it serves.',
    );
    await this.upgrades.restart(folder, ready, steps);
    return { stateSerial: want, nodes: [cell.cellId] };
  }
}
