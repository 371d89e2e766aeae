import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { projectRoot, type Clock } from '#platform';
import type { DriverCapabilities } from '#provisioning/core';
import { AZURITE_VERSION } from './version.js';
import type { ClockTarget, IngestTarget } from './wire.js';

export interface LocalDriverOptions {
  /** Holds cells, operations and fences. The truth of this driver, as a cloud is the truth of a cloud driver. */
  readonly rootFolder: string;
  /** Compiled `cell/main.js`; default: beside this file in `dist/`. */
  readonly cellEntry?: string;
  readonly nodePath?: string;
  /** Where a cell posts usage. A function for a key per cell; asked anew with each start and configuration. */
  readonly ingest: IngestTarget | null | ((clusterRef: string) => Promise<IngestTarget | null> | IngestTarget | null);
  /** Owner of the development clock that cells follow; null or absent outside development. */
  readonly cellClock?: ClockTarget | null;
  readonly clock: Clock;
  /** Default 8 (contract provisioning §4.6). */
  readonly maxCells?: number;
  /** Business seconds between samples; default 300. */
  readonly sampleSeconds?: number;
}

export const LOCAL_CAPABILITIES: DriverCapabilities = {
  driver: 'local',
  regions: ['local', 'local-b'],
  shapes: [
    { name: 'cell', minNodes: 1, maxNodes: 1 },
    { name: 'cell-large', minNodes: 1, maxNodes: 1 },
  ],
  versions: [AZURITE_VERSION],
  // Declared and accepted; it changes the record only, a cell is as large as its disk.
  resizeUp: true,
  resizeDown: true,
  upgrade: false,
  importExisting: true,
  cancel: true,
  suspendKinds: ['access'],
  protocols: ['azure-blob'],
  maxPlacements: 200,
  keyRotation: true,
  hardQuota: true,
};

/** From `dist/` the program lies beside us; from source it is the built one. */
export function defaultCellEntry(): string {
  const here = fileURLToPath(new URL('./cell/main.js', import.meta.url));
  return import.meta.url.endsWith('.ts') ? join(projectRoot(), 'dist/libs/provisioning/drivers/local/src/cell/main.js') : here;
}
