/**
 * The driver port. Small interfaces, put together; what a driver has of them is data in `capabilities()`, and what
 * it has not throws `unsupported`. Calls that change something check the fencing token first, then the operation id.
 * `preflight`, `plan`, `observe` and `inventory` change nothing, are not fenced, and are safe at any time.
 */
import type { DriverCall, DriverResult, FleetCall } from './call.js';
import type { ApplyOutcome, ApplyRequest, ClusterSpec, DriverCapabilities, DriverPlan, PreflightReport } from './cluster.js';
import type { DeleteOutcome, DeleteRequest, InventoryReport } from './inventory.js';
import type { ClusterObservation, ValidationReport } from './observation.js';
import type { ProbeAccess } from './blob/report.js';
import type { ConfigureOutcome, DesiredConfiguration, ResumeRequest, SuspendOutcome, SuspendRequest } from './placement.js';

/** Making and changing capacity. */
export interface CapacityDriver {
  /** No side effect, except a declared temporary probe. */
  preflight(call: DriverCall, spec: ClusterSpec): Promise<DriverResult<PreflightReport>>;
  /** Pure difference; nothing is made. */
  plan(call: DriverCall, spec: ClusterSpec): Promise<DriverResult<DriverPlan>>;
  /**
   * Executes exactly the plan. `plan.stale` / `plan.expired` (conflict): plan again. `plan.not_approved` (permission):
   * the plan destroys data-bearing nodes and the approval does not name all of them, or is for another plan.
   */
  apply(call: DriverCall, request: ApplyRequest): Promise<DriverResult<ApplyOutcome>>;
  /**
   * Another version in place, resumable: precheck, change, verify. Access, data, keys and counters stay; plans of before are stale.
   * `unsupported` unless `capabilities().upgrade`; `upgrade.unknown_version` (validation).
   */
  upgrade(call: DriverCall, request: { readonly version: string }): Promise<DriverResult>;
  /** Graceful stop, removal, then a sweep by label. Repeatable; a cluster that is not there is a success. */
  delete(call: DriverCall, request: DeleteRequest): Promise<DriverResult<DeleteOutcome>>;
}

/** Tenancy on existing capacity: other credentials, other pace than `apply`. */
export interface TenancyDriver {
  /** Ensure-by-name over the full list; see {@link DesiredConfiguration}. */
  configure(call: DriverCall, desired: DesiredConfiguration): Promise<DriverResult<ConfigureOutcome>>;
  /** Ends access of one placement at once; data stays. The next `configure` must say `suspended` too, or it resumes. */
  suspend(call: DriverCall, request: SuspendRequest): Promise<DriverResult<SuspendOutcome>>;
  resume(call: DriverCall, request: ResumeRequest): Promise<DriverResult>;
}

/** Looking. */
export interface ObservingDriver {
  /** Static data; the same for each call. */
  capabilities(): DriverCapabilities;
  /** Proof of control path and data path with a probe that no meter reads: the gate to `active`. */
  validate(call: DriverCall): Promise<DriverResult<ValidationReport>>;
  observe(call: DriverCall): Promise<DriverResult<ClusterObservation>>;
  inventory(call: FleetCall): Promise<DriverResult<InventoryReport>>;
}

/** Letting somebody in who judges the endpoint. `unsupported` unless `capabilities().probes`. */
export interface ProbingDriver {
  /**
   * An account of its own beside the placements, through the same door, which no meter reads and which ends by itself after `lifeMs`
   * (real). Not fenced, and its answer is kept nowhere: it holds a secret.
   */
  openProbe(call: DriverCall, request: { readonly lifeMs: number }): Promise<DriverResult<ProbeAccess>>;
  /** Repeatable; what was stored in it goes too. */
  closeProbe(call: DriverCall, request: { readonly accountName: string }): Promise<DriverResult>;
}

/** Taking over and letting go. */
export interface CustodyDriver {
  /** Adopts what `inventory` found, as `call.clusterRef`. */
  import(call: DriverCall, request: { readonly externalId: string }): Promise<DriverResult>;
  /** Stops managing; deletes nothing. */
  release(call: DriverCall): Promise<DriverResult>;
  /** Cooperative: the work stops before its next step. What is done is not undone. */
  cancel(call: DriverCall, handle: string): Promise<DriverResult>;
}

export interface ProvisioningDriver extends CapacityDriver, TenancyDriver, ObservingDriver, ProbingDriver, CustodyDriver {}
