/** The terraform driver: the only door. */
export { TerraformDriver } from './terraform.driver.js';
export type { BuiltNodes, NodeAbilities, TerraformDriverOptions } from './options.js';
export { cellModule, moduleFolder } from './modules.js';
export type { RootModule } from './modules.js';
export { MAX_STATE_BYTES, StateDoor } from './state/state-door.js';
export type { StateAnswer, StateRequest } from './state/state-door.js';
export { StateRefused } from './state/ports.js';
export type { RecordedCluster, RunCredential, RunStore, StateHead, StateWire, StoredPlan } from './state/ports.js';
export { PgOperationStore } from './infra/pg-operation-store.js';
export { PgRunStore } from './infra/pg-run-store.js';
export { pruneStates } from './infra/prune-states.js';
export { PgStateWire } from './infra/pg-state-wire.js';
