/**
 * What every driver call carries, and what every driver call gives back (contract provisioning §4.2).
 *
 * A driver never blocks until the work is done. It starts the work, answers, and is asked again with the
 * same `operationId`: the same id is the same handle and one effect, so asking again *is* polling.
 */
import type { DriverErrorShape } from './errors.js';

/** The envelope of a call. */
export interface DriverCall {
  /** uuid; the idempotency key. The same id with other arguments is refused (`driver.operation_reused`). */
  readonly operationId: string;
  /** The cluster this call is about: `^[a-z0-9][a-z0-9-]{1,62}$`, unique in the fleet, never reused. */
  readonly clusterRef: string;
  /** Version of the desired state. `configure` refuses one that is lower than what it has (`driver.generation_stale`). */
  readonly generation: number;
  /** Real time by which the caller has lost interest; a driver starts no new step after it. */
  readonly deadline: Date;
  /** Grows with each take-over of the cluster's lease. A lower one than seen before is refused (`driver.fenced`). */
  readonly fencingToken: number;
}

/** `running` means: ask again, with the same operation id, after `retryAfterMs`. */
export type DriverPhase = 'running' | 'succeeded' | 'failed' | 'cancelled';

/** One visible step of an operation, for people who wait. */
export interface ProgressStep {
  /** Stable snake_case name, for example `start_cell`. */
  readonly step: string;
  readonly state: 'pending' | 'running' | 'done' | 'failed' | 'skipped';
  /** RFC 3339, business time of the driver's clock. */
  readonly at: string;
  /** One plain sentence; never a secret. */
  readonly detail?: string;
}

/** The answer to a call. */
export interface DriverResult<T = undefined> {
  /** Opaque; the same for the same operation id. What `cancel` takes. */
  readonly handle: string;
  readonly phase: DriverPhase;
  readonly progress: readonly ProgressStep[];
  /** Real milliseconds to wait before asking again; only with `running`. */
  readonly retryAfterMs?: number;
  /** Present exactly when `phase` is `succeeded`. */
  readonly output?: T;
  /** Present exactly when `phase` is `failed`; `class` says what the engine may do next. */
  readonly error?: DriverErrorShape;
}

/** A call without a cluster: fleet-wide reads. */
export type FleetCall = Pick<DriverCall, 'operationId' | 'deadline'>;
