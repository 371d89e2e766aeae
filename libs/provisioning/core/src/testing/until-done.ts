import { realNow, uuidv7 } from '#platform';
import type { DriverCall, DriverResult } from '../index.js';

/** Asks again, with the same arguments, until the operation is no longer running. */
export async function untilDone<T>(ask: () => Promise<DriverResult<T>>, timeoutMs = 20_000): Promise<DriverResult<T>> {
  const until = realNow().getTime() + timeoutMs;
  for (;;) {
    const result = await ask();
    if (result.phase !== 'running') return result;
    if (realNow().getTime() > until) throw new Error(`still running: ${JSON.stringify(result.progress)}`);
    await new Promise((resolve) => setTimeout(resolve, Math.min(result.retryAfterMs ?? 50, 100)));
  }
}

/** The output of an operation that has to succeed. */
export async function outputOf<T>(ask: () => Promise<DriverResult<T>>, timeoutMs?: number): Promise<T> {
  const result = await untilDone(ask, timeoutMs);
  if (result.phase !== 'succeeded') throw new Error(`${result.phase}: ${result.error?.code ?? ''} ${result.error?.detail ?? ''}`);
  return result.output as T;
}

/** A call with a fresh operation id. */
export function aCall(clusterRef: string, change: Partial<DriverCall> = {}): DriverCall {
  return { operationId: uuidv7(), clusterRef, generation: 1, deadline: new Date(realNow().getTime() + 60_000), fencingToken: 1, ...change };
}
