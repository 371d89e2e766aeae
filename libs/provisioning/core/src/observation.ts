/** What is really there. Reading it changes nothing. */

export interface ObservedNode {
  readonly name: string;
  readonly state: 'running' | 'stopped' | 'broken';
  readonly detail?: string;
}

/** Cumulative since `epoch`; bytes and counts in decimal text. */
export interface UsageCounters {
  readonly ingressBytes: string;
  readonly egressBytes: string;
  readonly requests: string;
}

export interface ObservedPlacement {
  readonly placementId: string;
  readonly accountName: string;
  readonly state: 'active' | 'suspended' | 'closed';
  readonly endpoint: string;
  /** Logical bytes held, decimal text; null when it cannot be read now. */
  readonly storedBytes: string | null;
  readonly counters: UsageCounters | null;
}

/** How usage leaves the cluster. */
export interface ObservedMetering {
  /** Changes only when the durable counters were lost; then counters start again from zero. */
  readonly epoch: string;
  /** Highest sequence given out, decimal text. */
  readonly sequence: string;
  /** Events that are not yet accepted. */
  readonly backlog: number;
  /** RFC 3339 of the oldest of them. */
  readonly oldestBacklogAt: string | null;
  /** Events that the intake refused for good. */
  readonly refused: number;
  /** Events thrown away because the backlog was full. */
  readonly dropped: number;
  readonly lastSampleAt: string | null;
  readonly lastError: string | null;
}

export interface ClusterObservation {
  readonly clusterRef: string;
  /** RFC 3339, business time. */
  readonly observedAt: string;
  readonly exists: boolean;
  /** Serial of the driver's recorded state; 0 when there is none. */
  readonly stateSerial: number;
  /** Generation of the last configuration in force; null when there was none. */
  readonly observedGeneration: number | null;
  readonly health: 'ok' | 'degraded' | 'down' | 'unknown';
  readonly reasons: readonly string[];
  readonly version: string | null;
  readonly nodes: readonly ObservedNode[];
  readonly placements: readonly ObservedPlacement[];
  readonly metering: ObservedMetering | null;
}

export interface ValidationReport {
  /** `unknown` is "the probe could not judge"; it never promotes (contract provisioning §3.4). */
  readonly result: 'pass' | 'fail' | 'unknown';
  readonly evidence: readonly {
    readonly check: string;
    readonly result: 'pass' | 'fail' | 'unknown';
    readonly detail: string;
    readonly ms: number;
  }[];
}
