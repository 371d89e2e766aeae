/** Another release of a cell, by restart: the ports, the data, the counters and the list in force stay. */
import { DriverError, type Steps } from '#provisioning/core';
import { callCell, identify } from './cell-client.js';
import type { CellFolders } from './cell-folders.js';
import type { CellHost } from './cell-host.js';
import type { CellKeeper } from './cell-keeper.js';
import { cellPaths, readJson } from './files.js';
import { releaseOf } from './version.js';
import type { CellFile, CellStatus, DesiredFile } from './wire.js';

export class CellUpgrades {
  constructor(
    private readonly host: CellHost,
    private readonly keeper: CellKeeper,
    private readonly folders: CellFolders,
  ) {}

  /** Each step is "ensure": broken off anywhere it goes on from what runs. Counters that a restart would lose stop it before it begins. */
  async run(clusterRef: string, version: string, steps: Steps): Promise<undefined> {
    await steps.step('precheck', async () => {
      const { folder, cell } = this.folders.must(clusterRef);
      if (!readJson<DesiredFile>(cellPaths(folder).desired))
        throw new DriverError('validation', 'upgrade.no_record', `Cell ${cell.cellId} has no readable record of what is in force.`);
    });
    // First the record: whoever starts the cell from here on starts the new release.
    await steps.step('record', async () => {
      const { folder, cell } = this.folders.must(clusterRef);
      if (cell.spec.version !== version) this.host.write(folder, { ...cell, serial: cell.serial + 1, spec: { ...cell.spec, version } });
    });
    const { folder, cell } = this.folders.must(clusterRef);
    await this.restart(folder, cell, steps);
    await steps.step('start_cell', () => this.keeper.run(folder, cell), 'Starts it, and waits until it serves.');
    await steps.step('verify', async () => {
      const runs = await this.runningVersion(cell);
      if (runs !== version)
        throw new DriverError('unknown', 'upgrade.not_in_force', `Cell ${cell.cellId} runs ${runs ?? 'nothing'}, not ${version}.`);
    });
    return undefined;
  }

  /** Where another release than the recorded one runs, it ends gracefully and the recorded one starts. */
  async restart(folder: string, cell: CellFile, steps: Steps): Promise<void> {
    const runs = await this.runningVersion(cell);
    if (runs === null || runs === releaseOf(cell.spec.version).version) return;
    await steps.step('stop_cell', () => this.host.stop(folder, cell), 'Lets transfers be counted and saves what is in memory.');
    await steps.step('restart_cell', () => this.keeper.run(folder, cell));
  }

  private async runningVersion(cell: CellFile): Promise<string | null> {
    if (!(await identify(cell))?.ready) return null;
    return (await callCell<CellStatus>(cell, 'GET', '/status', undefined, 5_000)).version;
  }
}
