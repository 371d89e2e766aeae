/** Records of cells: made once, found by cluster. */
import { randomBytes } from 'node:crypto';
import { basename } from 'node:path';
import { DriverError, type ClusterSpec } from '#provisioning/core';
import type { CellHost } from './cell-host.js';
import type { CellKeeper } from './cell-keeper.js';
import { cellPaths, readJson, writeJsonAtomic } from './files.js';
import type { LocalDriverOptions } from './options.js';
import type { CellFile, DesiredFile } from './wire.js';

/** One cell takes 110 to 160 MB (contract provisioning §4.6). */
const MAX_CELLS = 8;
const SAMPLE_SECONDS = 300;

export class CellFolders {
  readonly maxCells: number;

  constructor(
    private readonly host: CellHost,
    private readonly keeper: CellKeeper,
    private readonly options: LocalDriverOptions,
  ) {
    this.maxCells = options.maxCells ?? MAX_CELLS;
  }

  /** Ensures a record with this serial; a second time it does nothing. */
  async write(clusterRef: string, spec: ClusterSpec, serial: number): Promise<void> {
    const found = this.host.find(clusterRef);
    if (found && found.cell.serial >= serial) return;
    if (found) return this.host.write(found.folder, { ...found.cell, spec, serial });
    const folder = this.host.folderOf(clusterRef);
    const [gatewayPort, adminPort] = await this.host.pickPorts();
    const connection = await this.keeper.connection(clusterRef);
    const cell: CellFile = {
      cellId: clusterRef,
      clusterRef,
      nonce: randomBytes(32).toString('hex'),
      gatewayPort,
      adminPort,
      sampleSeconds: this.options.sampleSeconds ?? SAMPLE_SECONDS,
      serial,
      managed: true,
      halted: false,
      spec,
      createdAt: this.options.clock.now().toISOString(),
    };
    this.host.write(folder, cell);
    const desired: DesiredFile = { generation: null, ...connection, placements: [], accounts: {}, lastSamples: {} };
    writeJsonAtomic(cellPaths(folder).desired, desired);
  }

  desiredOf(folder: string): DesiredFile | undefined {
    return readJson<DesiredFile>(cellPaths(folder).desired);
  }

  must(clusterRef: string): { folder: string; cell: CellFile } {
    const found = this.host.find(clusterRef);
    if (!found) throw new DriverError('validation', 'cluster.not_found', `There is no cell for ${clusterRef}.`);
    this.assertManaged(clusterRef);
    return found;
  }

  /** What was released is somebody else's until it is imported again. */
  assertManaged(clusterRef: string): void {
    const found = this.host.find(clusterRef);
    if (found && !found.cell.managed)
      throw new DriverError('permission', 'cluster.released', `Cell ${found.cell.cellId} was released; import it first.`);
  }

  /** What `inventory` called `externalId`, unless the cluster already is another cell. */
  importable(clusterRef: string, externalId: string): { folder: string; cell: CellFile } {
    const folder = this.host.folderOf(basename(externalId));
    const cell = this.host.read(folder);
    if (!cell) throw new DriverError('validation', 'import.not_found', `There is no cell ${externalId}.`);
    const other = this.host.find(clusterRef);
    if (other && other.folder !== folder) throw new DriverError('conflict', 'import.ref_taken', `${clusterRef} is another cell.`);
    return { folder, cell };
  }
}
