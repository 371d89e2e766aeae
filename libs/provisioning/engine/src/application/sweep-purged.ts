import type { ConfigureOutcome, DriverCall, DriverResult, ProvisioningDriver } from '#provisioning/core';

/** What was configured; of the deletions only those after which nothing is left. `survived`: those of which something is. */
export interface SweptOutcome extends ConfigureOutcome {
  readonly survived?: readonly string[];
}

/**
 * Deleted data is gone when a look at the place shows nothing of it, not when a call said so (contract provisioning §3.4: exit 0, and
 * resources survived). What could not be seen counts as there: its deletion stays open, and others on the cluster do not wait for it.
 */
export async function sweep(
  driver: ProvisioningDriver,
  call: DriverCall,
  result: DriverResult<ConfigureOutcome>,
): Promise<DriverResult<SweptOutcome>> {
  const { output } = result;
  if (!output || output.purged.length === 0) return result;
  // The configuration is in force: that nobody could look is no reason to ask for it again.
  const seen = await driver.observe(call).then(
    (look) => look.output,
    () => undefined,
  );
  const there = new Set(seen?.placements.map((p) => p.placementId));
  const gone = output.purged.filter((id) => seen && seen.health !== 'down' && !there.has(id));
  return { ...result, output: { ...output, purged: gone, survived: output.purged.filter((id) => !gone.includes(id)) } };
}
