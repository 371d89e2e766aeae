/** The driver port: the only door of provisioning/core. */
export type { DriverCall, DriverPhase, DriverResult, FleetCall, ProgressStep } from './call.js';
export { DriverError, toDriverError } from './errors.js';
export type { DriverErrorClass, DriverErrorShape } from './errors.js';
export type {
  ApplyOutcome,
  ApplyRequest,
  ClusterSpec,
  CostRate,
  DriverCapabilities,
  DriverPlan,
  PlanApproval,
  PreflightCheck,
  PreflightReport,
  IdentityKind,
  ShapeCapability,
  SuspendKind,
  TimedStep,
} from './cluster.js';
export type {
  ConfigureOutcome,
  DesiredConfiguration,
  DesiredPlacement,
  LastSample,
  PlacementEndpoint,
  PlacementKey,
  PlacementLimits,
  ResumeRequest,
  SuspendOutcome,
  SuspendRequest,
} from './placement.js';
export type {
  ClusterObservation,
  ObservedMetering,
  ObservedNode,
  ObservedPlacement,
  UsageCounters,
  ValidationReport,
} from './observation.js';
export { AZCOPY_SUITE } from './blob/suite-name.js';
export { judgeRules } from './blob/report.js';
export type {
  EndpointDescription,
  ProbeAccess,
  RuleOutcome,
  RuleReport,
  SignInMode,
  SuiteReport,
  SuiteResult,
  WireEvidence,
} from './blob/report.js';
export type { SuiteOptions } from './blob/suite.js';
export { loadBlobSuite } from './blob/load.js';
export { VARIANTS } from './variant.js';
export type { Variant } from './variant.js';
export { judgeInventory } from './inventory.js';
export type { DeleteOutcome, DeleteRequest, InventoryItem, InventoryReport, InventoryVerdict } from './inventory.js';
export type { CapacityDriver, CustodyDriver, ObservingDriver, ProbingDriver, ProvisioningDriver, TenancyDriver } from './driver.js';
export {
  assertApplicable,
  assertClusterRef,
  assertConfiguration,
  assertDeleteConfirmed,
  assertFence,
  assertGeneration,
  assertSpec,
  assertVersion,
} from './checks.js';
export { canonicalJson, planHash, sha256Hex } from './plan-hash.js';
export { MemoryOperationStore, OperationBook, readResult } from './operation-book.js';
export type { OperationRecord, OperationStore, Steps } from './operation-book.js';
