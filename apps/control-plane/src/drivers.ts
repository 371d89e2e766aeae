import { join } from 'node:path';
import type { BerthConfig, Clock, Database, Logger, Sealer } from '#platform';
import type { ProvisioningDriver } from '#provisioning/core';
import { defaultCellsProgram, LOCAL_CAPABILITIES, LocalDriver, type IngestTarget } from '#provisioning/drivers/local';
import { ManualDriver } from '#provisioning/drivers/manual';
import { cellModule, PgOperationStore, PgRunStore, TerraformDriver } from '#provisioning/drivers/terraform';

export interface Drivers {
  byName: Map<string, ProvisioningDriver>;
  /** Ends what runs on this machine; nothing is deleted. */
  shutdown(): Promise<void>;
}

/** Injection token of `Drivers`. */
export const DRIVERS = Symbol('berth.drivers');

export interface DriverDeps {
  readonly clock: Clock;
  readonly db: Database;
  readonly sealer: Sealer;
  readonly logger: Logger;
  /** Where this process itself is reached on this machine. */
  readonly ownUrl: () => string;
  readonly usageTarget: (clusterRef: string) => Promise<IngestTarget | null>;
}

/** The drivers this installation has. A cell asks anew at each start and configuration where it posts usage. */
export function makeDrivers(config: BerthConfig, deps: DriverDeps): Drivers {
  const cellsAt = (folder: string, maxCells?: number): LocalDriver =>
    new LocalDriver({
      rootFolder: join(config.dataDir, folder),
      clock: deps.clock,
      ingest: deps.usageTarget,
      cellClock: config.sandboxUrl ? { url: config.sandboxUrl } : null,
      ...(maxCells === undefined ? {} : { maxCells }),
    });
  const local = cellsAt('cells');
  // Cells that terraform builds lie in a folder of their own: each driver's inventory shall name its own cells only.
  const built = cellsAt('terraform/cells', config.terraform.maxCells);
  const terraform = makeTerraform(config, deps, built);
  // Cells of this machine stand in for the hardware that people hand over.
  const handedOver = cellsAt('manual/cells');
  const manual = new ManualDriver({ clock: deps.clock, db: deps.db, site: handedOver });
  return {
    byName: new Map<string, ProvisioningDriver>([local, terraform, manual].map((driver) => [driver.capabilities().driver, driver])),
    shutdown: async () => {
      await terraform.idle();
      await Promise.all([local.shutdownAll(), built.shutdownAll(), handedOver.shutdownAll()]);
    },
  };
}

function makeTerraform(config: BerthConfig, deps: DriverDeps, cells: LocalDriver): TerraformDriver {
  const { suspendKinds, protocols, signInModes, probes, maxPlacements, keyRotation, hardQuota, regions, shapes, versions } =
    LOCAL_CAPABILITIES;
  const root = join(config.dataDir, 'terraform');
  return new TerraformDriver({
    clock: deps.clock,
    runs: new PgRunStore(deps.db, deps.sealer, deps.clock),
    operations: new PgOperationStore(deps.db),
    nodes: cells,
    abilities: { suspendKinds, protocols, signInModes, probes, maxPlacements, keyRotation, hardQuota },
    modules: [
      cellModule({
        nodePath: process.execPath,
        entry: defaultCellsProgram(),
        root: join(root, 'cells'),
        maxCells: config.terraform.maxCells,
        regions,
        shapes,
        versions,
      }),
    ],
    backendUrl: () => `${deps.ownUrl()}/drivers/terraform/state`,
    workRoot: join(root, 'work'),
    binary: config.terraform.binary,
    searchPath: config.terraform.searchPath,
    providerMirror: config.terraform.providerMirror,
    onLog: ({ level, message, ...of }) => deps.logger[level]({ ...of, driver: 'terraform' }, message),
  });
}
