import type { Clock } from '#platform';
import type {
  CapacityDriver,
  ClusterSpec,
  CustodyDriver,
  DriverCapabilities,
  ObservingDriver,
  ProbingDriver,
  OperationStore,
  SuspendKind,
  TenancyDriver,
  Variant,
} from '#provisioning/core';
import type { RootModule } from './modules.js';
import type { RunStore } from './state/ports.js';

/**
 * Whoever knows what terraform has built: its tenants, its health, its label. Terraform makes capacity and knows nothing of tenants:
 * other credentials, other pace (contract provisioning §4.2). For cells of this machine that is the local driver.
 */
export interface BuiltNodes
  extends
    TenancyDriver,
    ProbingDriver,
    Pick<ObservingDriver, 'validate' | 'observe' | 'inventory'>,
    Pick<CapacityDriver, 'preflight' | 'delete'>,
    Pick<CustodyDriver, 'import' | 'release'> {
  /** What was found there is like, for adoption; undefined when nothing has that name. */
  specOf(clusterRef: string): Promise<ClusterSpec | undefined>;
}

/** What the nodes can do once they are built. */
export type NodeAbilities = Pick<
  DriverCapabilities,
  'suspendKinds' | 'protocols' | 'signInModes' | 'probes' | 'maxPlacements' | 'keyRotation' | 'hardQuota'
> & {
  readonly suspendKinds: readonly SuspendKind[];
};

export interface TerraformDriverOptions {
  readonly clock: Clock;
  readonly runs: RunStore;
  readonly operations: OperationStore;
  readonly nodes: BuiltNodes;
  readonly abilities: NodeAbilities;
  /** What its clusters are; default `local_dev`, as the reference module's. */
  readonly variant?: Variant;
  /** A shape is in one of them. */
  readonly modules: readonly RootModule[];
  /** Base address of the state backend, as terraform reaches it from this process; asked for each run. */
  readonly backendUrl: () => string;
  /** Folders of runs. They may be lost at any time. */
  readonly workRoot: string;
  /** Path or name of the program; null takes `terraform`, else `tofu`. */
  readonly binary?: string | null;
  /** `PATH` of this process. */
  readonly searchPath: string;
  readonly providerMirror?: string | null;
  /** Runs at once in this process; each takes some 75 MB. Default 4. */
  readonly parallel?: number;
  /** For one run; default 2 h (contract provisioning §4.3). */
  readonly runTimeoutMs?: number;
  /** Between SIGINT and SIGKILL; default 20 s. */
  readonly graceMs?: number;
  /** Without a renewal a run loses its right to write after this; default 10 min. */
  readonly leaseMs?: number;
  /** Redacted lines of terraform, for the log. */
  readonly onLog?: (line: { clusterRef: string; operationId: string; level: 'info' | 'warn' | 'error'; message: string }) => void;
}

/** For one run (contract provisioning §4.3). */
export const RUN_MS = 2 * 3_600_000;
/** A plan is made well within this. */
export const READ_MS = 15 * 60_000;

export function capabilitiesOf(
  options: Pick<TerraformDriverOptions, 'modules' | 'abilities' | 'variant' | 'runTimeoutMs'>,
): DriverCapabilities {
  const { modules, abilities } = options;
  const versions = [...new Set(modules.flatMap((m) => m.versions))];
  const runs = (options.runTimeoutMs ?? RUN_MS) + 10 * 60_000;
  return {
    driver: 'terraform',
    variant: options.variant ?? 'local_dev',
    regions: [...new Set(modules.flatMap((m) => m.regions))],
    shapes: modules.flatMap((m) => m.shapes),
    versions,
    resizeUp: true,
    resizeDown: true,
    upgrade: versions.length > 1,
    importExisting: true,
    cancel: true,
    ...abilities,
    // A cloud takes its time; a run ends after `runTimeoutMs` by itself (contract provisioning §4.3: 120 min).
    timeoutsMs: {
      preflight: 60_000,
      plan: READ_MS,
      apply: runs,
      configure: 900_000,
      validate: 900_000,
      upgrade: runs,
      delete: runs,
      sweep: 120_000,
    },
  };
}
