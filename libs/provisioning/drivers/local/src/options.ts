import { fileURLToPath } from 'node:url';
import type { Clock } from '#platform';
import type { DriverCapabilities } from '#provisioning/core';
import { RELEASES } from './version.js';
import type { ClockTarget, IngestTarget } from './wire.js';

export interface LocalDriverOptions {
  /** Holds cells, operations and fences. The truth of this driver, as a cloud is the truth of a cloud driver. */
  readonly rootFolder: string;
  /** Compiled `cell/main.js`; default: beside this file in `dist/`. */
  readonly cellEntry?: string;
  readonly nodePath?: string;
  /** Where a cell posts usage. A function for a key per cell; asked anew with each start and configuration. */
  readonly ingest: IngestTarget | null | ((clusterRef: string) => Promise<IngestTarget | null> | IngestTarget | null);
  /**
   * For a program that makes cells and does not know where usage goes: a running cell keeps what it was told, a new one is told by
   * whoever configures it.
   */
  readonly leaveConnections?: boolean;
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
  variant: 'local_dev',
  regions: ['local', 'local-b'],
  shapes: [
    // Tenants come with keys; a cell binds no identity provider.
    { name: 'cell', minNodes: 1, maxNodes: 1, capacityBytes: (8n << 30n).toString() },
    { name: 'cell-large', minNodes: 1, maxNodes: 1, capacityBytes: (64n << 30n).toString() },
  ],
  versions: RELEASES.map((r) => r.version),
  // Declared and accepted; it changes the record only, a cell is as large as its disk.
  resizeUp: true,
  resizeDown: true,
  upgrade: true,
  importExisting: true,
  cancel: true,
  suspendKinds: ['access'],
  signInModes: ['shared_key', 'sas'],
  probes: true,
  protocols: ['azure-blob'],
  maxPlacements: 200,
  keyRotation: true,
  hardQuota: true,
  // A cell starts within 20 s and stops within 18 s, or it does not.
  timeoutsMs: {
    preflight: 30_000,
    plan: 30_000,
    apply: 180_000,
    configure: 120_000,
    validate: 60_000,
    upgrade: 300_000,
    delete: 180_000,
    sweep: 60_000,
  },
};

/** From `dist/` a program lies beside us; from source it is the built one. The way is written out: this file loads no #platform. */
const built = (program: string): string =>
  fileURLToPath(
    new URL(
      import.meta.url.endsWith('.ts') ? `../../../../../dist/libs/provisioning/drivers/local/src/${program}` : `./${program}`,
      import.meta.url,
    ),
  );

export const defaultCellEntry = (): string => built('cell/main.js');

/** The program that makes and removes single cells from a command line. */
export const defaultCellsProgram = (): string => built('cells-program.js');
