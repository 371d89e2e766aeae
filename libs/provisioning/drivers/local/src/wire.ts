/** What the driver and the cell say to each other: two files and the admin calls. Not exported from the lib. */
import type { ClusterSpec, DesiredPlacement, LastSample } from '#provisioning/core';

/** Where samples are posted: the control plane's `/api/v1/usage-events`, and the cell's own key. */
export interface IngestTarget {
  readonly url: string;
  readonly key: string;
}

/** The development clock's owner (guide clock-protocol); null outside development. */
export interface ClockTarget {
  readonly url: string;
  readonly token?: string;
}

/** `cell.json`: written by the driver only. Mode 0600: the nonce opens the admin port. */
export interface CellFile {
  readonly cellId: string;
  readonly clusterRef: string;
  readonly nonce: string;
  /** Kept for the cell's whole life, so that endpoints do not change; binding them is also the mutex of a cell. */
  readonly gatewayPort: number;
  readonly adminPort: number;
  readonly sampleSeconds: number;
  readonly serial: number;
  readonly managed: boolean;
  /** It is being deleted or replaced: supervision must not start it. */
  readonly halted: boolean;
  readonly spec: ClusterSpec;
  readonly createdAt: string;
}

/** `desired.json`: written by the driver once, before the first start; after that by the cell only. Mode 0600. */
export interface DesiredFile {
  readonly generation: number | null;
  readonly ingest: IngestTarget | null;
  readonly clock: ClockTarget | null;
  readonly placements: readonly DesiredPlacement[];
  /** Account name of each placement whose data may still be here: the listed and the closed. */
  readonly accounts: Readonly<Record<string, string>>;
  readonly lastSamples: Readonly<Record<string, LastSample>>;
}

/** `cell.pid.json`: written by the cell when it holds both ports. */
export interface PidFile {
  readonly pid: number;
  /** Clock ticks since boot at which the process began (Linux); null elsewhere. Tells a recycled pid. */
  readonly startTicks: string | null;
  readonly cellId: string;
  readonly nonce: string;
  readonly gatewayPort: number;
  readonly adminPort: number;
}

export interface CellIdentity {
  readonly cellId: string;
  readonly pid: number;
  /** HMAC-SHA256(nonce, challenge + cellId + pid): proves the nonce without sending it to a stranger's port. */
  readonly proof: string;
  readonly ready: boolean;
}

export interface CellPlacementStatus {
  readonly placementId: string;
  readonly accountName: string;
  readonly state: 'active' | 'suspended' | 'closed';
  readonly storedBytes: string;
  readonly counters: { readonly ingressBytes: string; readonly egressBytes: string; readonly requests: string };
}

export interface CellStatus {
  readonly cellId: string;
  readonly ready: boolean;
  readonly version: string;
  readonly now: string;
  readonly generation: number | null;
  readonly placements: readonly CellPlacementStatus[];
  readonly metering: {
    readonly epoch: string;
    readonly sequence: string;
    readonly backlog: number;
    readonly oldestBacklogAt: string | null;
    readonly refused: number;
    readonly dropped: number;
    readonly lastSampleAt: string | null;
    readonly lastError: string | null;
  };
}

export interface CellConfigureRequest {
  readonly generation: number;
  readonly ingest: IngestTarget | null;
  readonly clock: ClockTarget | null;
  readonly placements: readonly DesiredPlacement[];
  readonly purge: readonly string[];
}

export interface CellConfigureAnswer {
  readonly lastSamples: readonly LastSample[];
}

/** One CloudEvent of usage; the ingest contract is `POST /api/v1/usage-events`. */
export interface CellEvent {
  readonly specversion: '1.0';
  readonly id: string;
  readonly source: string;
  readonly type: 'berth.sample.v1' | 'berth.watermark.v1';
  readonly time: string;
  readonly subject?: string;
  readonly sequence: string;
  readonly datacontenttype: 'application/json';
  readonly data: Readonly<Record<string, string>>;
}
