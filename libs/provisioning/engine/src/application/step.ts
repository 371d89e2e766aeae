import { RunAgainAt, type Tx } from '#platform';
import type { ClusterObservation, DriverCall, DriverErrorShape, DriverResult, ProvisioningDriver } from '#provisioning/core';
import type { StepName } from '../domain/retry.js';
import type { ClusterRow, StepRow } from '../infra/rows.js';

/** Stopped: only a person can help. Becomes the operation's error. */
export class StopForPerson extends Error {
  constructor(
    readonly error: DriverErrorShape,
    readonly step: string,
  ) {
    super(`${error.code}: ${error.detail}`);
  }
}

/** The driver is at work in this process, and is asked again. */
export class AtWork extends RunAgainAt {}

/** The stored plan no longer fits what is there. */
export class Replan extends Error {}

export interface Step<T> {
  readonly name: StepName;
  /** What a person waits for meanwhile. */
  readonly awaited: string;
  /** Made once per step, in the transaction that commits it; a secret in it is sealed by the maker. */
  intent(tx: Tx, cluster: ClusterRow, stepId: string): Promise<Record<string, unknown>>;
  /** Always asked with the committed intent, so that the same operation id has the same arguments. */
  ask(driver: ProvisioningDriver, call: DriverCall, intent: Record<string, unknown>): Promise<DriverResult<T>>;
  /** True when the call changes something outside: then an intent without an outcome is looked at before it is asked again. */
  readonly changes?: boolean;
  /** What an observation proves of the effect; undefined when it proves nothing. */
  seen?(observation: ClusterObservation, intent: Record<string, unknown>): T | undefined;
  /** State that follows, in the transaction of the outcome. */
  done(tx: Tx, cluster: ClusterRow, output: T, intent: Record<string, unknown>): Promise<void>;
  /** What of the output is kept; the default keeps nothing. */
  record?(output: T): unknown;
}

/** A step that is in the ledger without an outcome. */
export interface OpenStep {
  readonly row: StepRow;
  readonly generation: number;
  readonly ref: string;
  readonly driver: ProvisioningDriver;
  readonly deadline: Date;
}
