import type { BerthConfig, Clock } from '#platform';
import type { ProvisioningDriver } from '#provisioning/core';
import { LocalDriver, type IngestTarget } from '#provisioning/drivers/local';

export interface Drivers {
  byName: Map<string, ProvisioningDriver>;
  /** Ends what runs on this machine; nothing is deleted. */
  shutdown(): Promise<void>;
}

/** Injection token of `Drivers`. */
export const DRIVERS = Symbol('berth.drivers');

/** The drivers this installation has. A cell asks anew at each start and configuration where it posts usage. */
export function makeDrivers(
  config: BerthConfig,
  deps: { clock: Clock; cellsFolder: string; usageTarget: (clusterRef: string) => Promise<IngestTarget | null> },
): Drivers {
  const local = new LocalDriver({
    rootFolder: deps.cellsFolder,
    clock: deps.clock,
    ingest: deps.usageTarget,
    cellClock: config.sandboxUrl ? { url: config.sandboxUrl } : null,
  });
  return { byName: new Map<string, ProvisioningDriver>([[local.capabilities().driver, local]]), shutdown: () => local.shutdownAll() };
}
