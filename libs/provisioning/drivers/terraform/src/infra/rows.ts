/** Rows of the driver's tables, and the one question that each write asks first. */
import { isUuid, realNow, sameSecret, sha256Hex, type Tx } from '#platform';
import type { ClusterSpec } from '#provisioning/core';
import type { RecordedCluster, StateHead } from '../state/ports.js';

/** The name under which fences and operations of this driver are kept. */
export const DRIVER = 'terraform';

export interface ClusterRow {
  cluster_ref: string;
  recorded_serial: number;
  spec: ClusterSpec | null;
  nodes: string[];
  managed: boolean;
  holder: string | null;
  lock_id: string | null;
  lock_info: unknown;
}

export interface CredentialRow {
  credential_id: string;
  cluster_ref: string;
  operation_id: string;
  mode: 'read' | 'write';
  fencing_token: string;
  secret_hash: string;
  expires_at: Date;
  ended_at: Date | null;
}

export interface VersionRow {
  version: number;
  lineage: string;
  serial: string;
  sha256: string;
  resources: number;
  sealed: string | null;
}

export const statePurpose = (clusterRef: string, version: number): string => `terraform-state/${clusterRef}/${version}`;
export const planPurpose = (planId: string): string => `terraform-plan/${planId}`;

/** The row of a cluster, locked: two writers of one state never overlap. */
export async function lockCluster(tx: Tx, clusterRef: string): Promise<ClusterRow | undefined> {
  const [row] = await tx.query<ClusterRow>('select * from terraform_clusters where cluster_ref = $1 for update', [clusterRef]);
  return row;
}

export async function headOf(tx: Tx, clusterRef: string): Promise<VersionRow | undefined> {
  const [row] = await tx.query<VersionRow>(
    'select version, lineage, serial, sha256, resources, sealed from terraform_state_versions where cluster_ref = $1 order by version desc limit 1',
    [clusterRef],
  );
  return row;
}

export function headFrom(row: VersionRow | undefined): StateHead | null {
  return row ? { version: row.version, lineage: row.lineage, serial: Number(row.serial), resources: row.resources } : null;
}

export function recordedFrom(row: ClusterRow, head: VersionRow | undefined): RecordedCluster {
  const { cluster_ref: clusterRef, recorded_serial: serial, spec, nodes, managed } = row;
  return { clusterRef, serial, spec, nodes, managed, head: headFrom(head) };
}

export async function fenceOf(tx: Tx, clusterRef: string): Promise<number> {
  const [row] = await tx.query<{ token: string }>('select token from driver_fences where driver = $1 and cluster_ref = $2', [
    DRIVER,
    clusterRef,
  ]);
  return Number(row?.token ?? 0);
}

export async function raiseFence(tx: Tx, driver: string, clusterRef: string, token: number): Promise<void> {
  await tx.query(
    `insert into driver_fences (driver, cluster_ref, token) values ($1, $2, $3)
     on conflict (driver, cluster_ref) do update set token = greatest(driver_fences.token, excluded.token)`,
    [driver, clusterRef, token],
  );
}

export async function credentialOf(tx: Tx, id: string): Promise<CredentialRow | undefined> {
  if (!isUuid(id)) return undefined;
  const [row] = await tx.query<CredentialRow>('select * from terraform_credentials where credential_id = $1', [id]);
  return row;
}

/** The given secret is that of the credential, and the credential is for this cluster. */
export const provesItself = (row: CredentialRow | undefined, clusterRef: string, secret: string): row is CredentialRow =>
  row !== undefined && row.cluster_ref === clusterRef && sameSecret(sha256Hex(secret), row.secret_hash);

/** Still in its lease. */
export const isLive = (row: CredentialRow): boolean => row.ended_at === null && row.expires_at > realNow();

/** The fence itself: the newest writer, in its lease, with a token that nobody has outrun. Asked under the cluster's lock. */
export async function isWriter(tx: Tx, cluster: ClusterRow, row: CredentialRow): Promise<boolean> {
  return (
    row.mode === 'write' &&
    cluster.holder === row.credential_id &&
    isLive(row) &&
    Number(row.fencing_token) >= (await fenceOf(tx, cluster.cluster_ref))
  );
}
