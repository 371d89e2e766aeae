import type { BerthConfig, Clock } from '#platform';
import type { ProvisioningDriver } from '#provisioning/core';
import { LocalDriver, type IngestTarget } from '#provisioning/drivers/local';

/** The drivers this installation has. A cell asks anew at each start and configuration where it posts usage. */
export function makeDrivers(
  config: BerthConfig,
  deps: { clock: Clock; cellsFolder: string; usageTarget: (clusterRef: string) => Promise<IngestTarget | null> },
): Map<string, ProvisioningDriver> {
  const local = new LocalDriver({
    rootFolder: deps.cellsFolder,
    clock: deps.clock,
    ingest: deps.usageTarget,
    cellClock: config.sandboxUrl ? { url: config.sandboxUrl } : null,
  });
  return new Map<string, ProvisioningDriver>([[local.capabilities().driver, local]]);
}
