import { realNow, uuidv7 } from '#platform';
import { DriverError, type ClusterObservation, type DriverCall } from '#provisioning/core';
import { driverOf, type EngineContext } from './context.js';

/** Calls of drivers, each with its time-out. */
export class DriverCalls {
  constructor(private readonly ctx: EngineContext) {}

  /** What is there; read-only and unfenced, safe at any time. Throws what the driver says it could not tell. */
  async observe(cluster: {
    readonly name: string;
    readonly driver: string;
    readonly generation: string;
    readonly fence: string;
  }): Promise<ClusterObservation> {
    const { name, generation, fence } = cluster;
    const call = this.look({ name, generation: Number(generation), fence: Number(fence) });
    const result = await this.timed(driverOf(this.ctx, cluster.driver).observe(call));
    if (!result.output)
      throw new DriverError(
        result.error?.class ?? 'unknown',
        result.error?.code ?? 'observe.no_answer',
        result.error?.detail ?? 'The driver gave no observation.',
      );
    return result.output;
  }

  /** A call with an id of its own, which no ledger keeps. */
  look(at: { readonly name: string; readonly generation: number; readonly fence: number }): DriverCall {
    const deadline = new Date(realNow().getTime() + this.ctx.times.callTimeoutMs);
    return { operationId: uuidv7(), clusterRef: at.name, generation: at.generation, deadline, fencingToken: at.fence };
  }

  /** Without an answer in time the outcome is unknown (`driver.call_timeout`). */
  async timed<T>(call: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new DriverError('unknown', 'driver.call_timeout', 'The driver did not answer in time.')),
        this.ctx.times.callTimeoutMs,
      );
    });
    try {
      return await Promise.race([call, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
