/** Clusters, placements, operations and the reconcile loop. */
export { ProvisioningEngine, registerProvisioningHandlers } from './application/provisioning-engine.js';
export type { ProvisioningEngineOptions } from './application/provisioning-engine.js';
export type { Inventory } from './application/take-inventory.js';
export type { EngineTimes, ProvisioningEventType } from './application/context.js';
export type { Wish } from './application/change-placement.js';
export type { PlacementRequest } from './application/request-placement.js';
export type { ClusterView, Credentials, OperationView, Page, Paging, PlacementView, StepView } from './application/read-models.js';
export type { Progress } from './application/progress.js';
export { clusterTransitions, nextCluster } from './domain/cluster-states.js';
export type { ClusterEvent, ClusterPhase } from './domain/cluster-states.js';
export { nextPlacement, placementTransitions } from './domain/placement-states.js';
export type { DesiredState, PlacementEvent, PlacementPhase } from './domain/placement-states.js';
export type { ClusterOperationKind, OperationKind, OperationState, PlacementOperationKind } from './domain/operation-kinds.js';
export { DEFAULT_PLACEMENT_POLICY } from './domain/placement-choice.js';
export type { PlacementPolicy } from './domain/placement-choice.js';
export { STEP_NAMES } from './domain/retry.js';
export type { RetryLimits, SetupStep, StepName } from './domain/retry.js';
export type { StoredSample } from './infra/rows.js';
