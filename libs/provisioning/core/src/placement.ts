/** Desired tenancy of one cluster: always the full list (contract provisioning §3.4: replace-all lists lost entries). */

/** One of a placement's access keys. During a rotation two are valid at once. */
export interface PlacementKey {
  readonly id: string;
  /** 64 random bytes in base64, the form of an Azure storage key. A secret: never logged, never in a result. */
  readonly secretBase64: string;
}

/** Numeric limits that the data path enforces. Amounts are bytes in decimal text, null is unlimited. */
export interface PlacementLimits {
  readonly hardQuotaBytes: string | null;
}

export interface DesiredPlacement {
  readonly placementId: string;
  /** `^[a-z0-9]{3,24}$`, unique on the cluster, never given to another placement. */
  readonly accountName: string;
  /** One or two. */
  readonly keys: readonly PlacementKey[];
  readonly state: 'active' | 'suspended';
  readonly limits: PlacementLimits;
}

/**
 * Full-list semantics: a placement that is absent is *closed* (its endpoint answers 403) and its data stays.
 * Data goes only for a placement that is absent *and* named in `purge`. Absence alone never deletes.
 */
export interface DesiredConfiguration {
  readonly placements: readonly DesiredPlacement[];
  /** Ids whose data is deleted now. Naming one that is also in `placements` is `configure.purge_of_live`. */
  readonly purge: readonly string[];
}

/** The last sample of a placement, taken after access had ended: the end of its usage. */
export interface LastSample {
  readonly placementId: string;
  /** RFC 3339, business time. */
  readonly at: string;
  /** Sequence of its last event, decimal text; null when the driver does not meter. */
  readonly sequence: string | null;
  /** True when the usage intake has accepted it. False: kept by the cluster and posted again; ask again. */
  readonly acknowledged: boolean;
}

export interface PlacementEndpoint {
  readonly placementId: string;
  readonly accountName: string;
  /** Base URL, without a trailing slash. */
  readonly endpoint: string;
}

export interface ConfigureOutcome {
  /** The generation that is now in force. */
  readonly generation: number;
  readonly endpoints: readonly PlacementEndpoint[];
  /** For each placement whose access ended in this call. */
  readonly lastSamples: readonly LastSample[];
  readonly purged: readonly string[];
}

export interface SuspendRequest {
  readonly placementId: string;
  readonly kind: 'access' | 'crypto';
}

export interface SuspendOutcome {
  /** Null when the driver does not meter. */
  readonly lastSample: LastSample | null;
}

export interface ResumeRequest {
  readonly placementId: string;
}
