/** Calls to whoever knows the nodes, from within an operation. */
import { DriverError, type DriverResult, type Steps } from '#provisioning/core';
import type { RecordedCluster } from './state/ports.js';

export function assertManaged(recorded: RecordedCluster | undefined): void {
  if (recorded && !recorded.managed)
    throw new DriverError('permission', 'cluster.released', `${recorded.clusterRef} was released; import it first.`);
}

/** Asks, with the same id, until the answer is there. */
export async function settled<T>(steps: Steps, ask: () => Promise<DriverResult<T>>): Promise<T> {
  for (;;) {
    const result = await ask();
    if (result.phase === 'succeeded') return result.output as T;
    if (result.error) throw new DriverError(result.error.class, result.error.code, result.error.detail);
    if (result.phase === 'cancelled' || steps.signal.aborted)
      throw new DriverError('conflict', 'operation.cancelled', 'Stopped while the nodes were at work.');
    await new Promise((done) => setTimeout(done, Math.min(result.retryAfterMs ?? 100, 200)));
  }
}
