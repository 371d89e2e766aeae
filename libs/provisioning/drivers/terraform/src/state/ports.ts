/** What the driver needs of a place that outlives it: two small ports, one for its work, one for terraform's own HTTP calls. */
import type { ClusterSpec } from '#provisioning/core';

/** The newest version of a cluster's state. */
export interface StateHead {
  readonly version: number;
  readonly lineage: string;
  readonly serial: number;
  /** How many resources it names; 0 when everything is destroyed, or the state was removed. */
  readonly resources: number;
}

/** What came to its end at a cluster, as opposed to what terraform wrote meanwhile. */
export interface RecordedCluster {
  readonly clusterRef: string;
  readonly serial: number;
  readonly spec: ClusterSpec | null;
  readonly nodes: readonly string[];
  readonly managed: boolean;
  readonly head: StateHead | null;
}

/** Basic auth of one run of terraform. The secret is given out once and kept as a hash. */
export interface RunCredential {
  readonly id: string;
  readonly secret: string;
}

export interface CredentialRequest {
  readonly clusterRef: string;
  readonly operationId: string;
  readonly fencingToken: number;
  /** `write`: from now on the one writer of the cluster; who wrote before is refused. */
  readonly mode: 'read' | 'write';
  /** Real time: the lease of the run. */
  readonly expiresAt: Date;
}

export interface StoredPlan {
  readonly planId: string;
  readonly clusterRef: string;
  readonly sha256: string;
  readonly artefactSha256: string;
  /** The state it was made from; null when there was none. */
  readonly head: Pick<StateHead, 'lineage' | 'serial'> | null;
  readonly destroys: readonly string[];
  /** Business time. */
  readonly expiresAt: Date;
  readonly file: Buffer;
}

/** For the driver. */
export interface RunStore {
  recorded(clusterRef: string): Promise<RecordedCluster | undefined>;
  /** Clusters of which something may be there. */
  built(): Promise<readonly RecordedCluster[]>;
  /** Throws `driver.fenced` when the token is older than the highest one seen. */
  issue(request: CredentialRequest): Promise<RunCredential>;
  /** The same operation under a renewed lease. False: another writer has taken over. */
  carry(credentialId: string, fencingToken: number, expiresAt: Date): Promise<boolean>;
  end(credentialId: string): Promise<void>;
  savePlan(plan: StoredPlan): Promise<void>;
  plan(planId: string): Promise<StoredPlan | undefined>;
  /** The operation came to its end. Refused (`driver.fenced`) unless the credential is still the writer's. Answers the new serial. */
  complete(credentialId: string, done: { readonly spec: ClusterSpec | null; readonly nodes: readonly string[] }): Promise<number>;
  setManaged(clusterRef: string, managed: boolean): Promise<void>;
}

/** Who asks, as it stands in the request. */
export interface Presented {
  readonly clusterRef: string;
  readonly credentialId: string;
  readonly secret: string;
}

export type WireRefusal = 'unauthenticated' | 'not_writer' | 'locked' | 'not_locked' | 'stale_serial' | 'other_lineage' | 'bad_state';

/** A refused request of terraform. `lockInfo`: of the holder. */
export class StateRefused extends Error {
  constructor(
    readonly reason: WireRefusal,
    readonly lockInfo: unknown = null,
  ) {
    super(`state.${reason}`);
  }
}

/** For terraform's http backend. Each write proves its credential in the transaction in which it writes. */
export interface StateWire {
  read(who: Presented): Promise<string | null>;
  write(who: Presented, lockId: string | null, text: string): Promise<void>;
  remove(who: Presented, lockId: string | null): Promise<void>;
  lock(who: Presented, lockId: string, info: unknown): Promise<void>;
  unlock(who: Presented, lockId: string | null): Promise<void>;
}
