/** What the driver must not keep on a runner's disk (contract provisioning §3.4), in Postgres. */
import { randomBytes } from 'node:crypto';
import { isUuid, realNow, sha256Hex, uuidv7, type Clock, type Database, type Sealer, type Tx } from '#platform';
import { DriverError } from '#provisioning/core';
import type { ClusterSpec } from '#provisioning/core';
import type { CredentialRequest, RecordedCluster, RunCredential, RunStore, StoredPlan } from '../state/ports.js';
import {
  credentialOf,
  DRIVER,
  fenceOf,
  headOf,
  isLive,
  isWriter,
  lockCluster,
  planPurpose,
  raiseFence,
  recordedFrom,
  type ClusterRow,
} from './rows.js';

interface PlanRow {
  plan_id: string;
  cluster_ref: string;
  sha256: string;
  artefact_sha256: string;
  lineage: string | null;
  serial: string | null;
  destroys: string[];
  sealed: string;
  expires_at: Date;
}

const fenced = (detail: string): DriverError => new DriverError('conflict', 'driver.fenced', detail);

export class PgRunStore implements RunStore {
  constructor(
    private readonly db: Database,
    private readonly sealer: Sealer,
    private readonly clock: Clock,
  ) {}

  async recorded(clusterRef: string): Promise<RecordedCluster | undefined> {
    return this.db.ops(async (tx) => {
      const [row] = await tx.query<ClusterRow>('select * from terraform_clusters where cluster_ref = $1', [clusterRef]);
      return row && recordedFrom(row, await headOf(tx, clusterRef));
    });
  }

  async built(): Promise<readonly RecordedCluster[]> {
    return this.db.ops(async (tx) => {
      const rows = await tx.query<ClusterRow>(
        `select c.* from terraform_clusters c where 0 < (
           select v.resources from terraform_state_versions v where v.cluster_ref = c.cluster_ref order by v.version desc limit 1)
         order by cluster_ref`,
      );
      const built: RecordedCluster[] = [];
      for (const row of rows) built.push(recordedFrom(row, await headOf(tx, row.cluster_ref)));
      return built;
    });
  }

  async issue(request: CredentialRequest): Promise<RunCredential> {
    const { clusterRef, mode } = request;
    const credential = { id: uuidv7(), secret: randomBytes(32).toString('base64url') };
    await this.db.ops(async (tx) => {
      await tx.query('insert into terraform_clusters (cluster_ref, updated_at) values ($1, $2) on conflict do nothing', [
        clusterRef,
        realNow(),
      ]);
      await lockCluster(tx, clusterRef);
      if (mode === 'write') {
        if (request.fencingToken < (await fenceOf(tx, clusterRef))) throw fenced(`Token ${request.fencingToken} was outrun.`);
        await raiseFence(tx, DRIVER, clusterRef, request.fencingToken);
      }
      await tx.query(
        `insert into terraform_credentials (credential_id, cluster_ref, operation_id, mode, fencing_token, secret_hash, issued_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)`,
        [
          credential.id,
          clusterRef,
          request.operationId,
          mode,
          request.fencingToken,
          sha256Hex(credential.secret),
          realNow(),
          request.expiresAt,
        ],
      );
      // A lock of a run that is over would be held for ever: `kill -9` leaves it (contract provisioning §4.4).
      if (mode === 'write')
        await tx.query(
          'update terraform_clusters set holder = $2, lock_id = null, lock_info = null, updated_at = $3 where cluster_ref = $1',
          [clusterRef, credential.id, realNow()],
        );
    });
    return credential;
  }

  async carry(credentialId: string, fencingToken: number, expiresAt: Date): Promise<boolean> {
    return this.db.ops(async (tx) => {
      const row = await credentialOf(tx, credentialId);
      const cluster = row && (await lockCluster(tx, row.cluster_ref));
      if (!cluster || cluster.holder !== credentialId || !isLive(row)) return false;
      if (fencingToken < (await fenceOf(tx, row.cluster_ref))) return false;
      await raiseFence(tx, DRIVER, row.cluster_ref, fencingToken);
      await tx.query('update terraform_credentials set fencing_token = $2, expires_at = $3 where credential_id = $1', [
        credentialId,
        fencingToken,
        expiresAt,
      ]);
      return true;
    });
  }

  async end(credentialId: string): Promise<void> {
    await this.db.ops((tx) =>
      tx.query('update terraform_credentials set ended_at = $2 where credential_id = $1 and ended_at is null', [credentialId, realNow()]),
    );
  }

  async savePlan(plan: StoredPlan): Promise<void> {
    const now = this.clock.now();
    await this.db.ops(async (tx) => {
      await tx.query('delete from terraform_plans where expires_at < $1', [now]);
      await tx.query(
        `insert into terraform_plans (plan_id, cluster_ref, sha256, artefact_sha256, lineage, serial, destroys, sealed, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
        [
          plan.planId,
          plan.clusterRef,
          plan.sha256,
          plan.artefactSha256,
          plan.head?.lineage ?? null,
          plan.head?.serial ?? null,
          JSON.stringify(plan.destroys),
          // A plan file holds the prior state, and every variable, in plain text.
          this.sealer.seal(plan.file.toString('base64'), planPurpose(plan.planId)),
          now,
          plan.expiresAt,
        ],
      );
    });
  }

  async plan(planId: string): Promise<StoredPlan | undefined> {
    if (!isUuid(planId)) return undefined;
    const [row] = await this.db.ops((tx) => tx.query<PlanRow>('select * from terraform_plans where plan_id = $1', [planId]));
    return (
      row && {
        planId: row.plan_id,
        clusterRef: row.cluster_ref,
        sha256: row.sha256,
        artefactSha256: row.artefact_sha256,
        head: row.lineage === null ? null : { lineage: row.lineage, serial: Number(row.serial) },
        destroys: row.destroys,
        expiresAt: row.expires_at,
        file: Buffer.from(this.sealer.open(row.sealed, planPurpose(row.plan_id)), 'base64'),
      }
    );
  }

  async complete(credentialId: string, done: { spec: ClusterSpec | null; nodes: readonly string[] }): Promise<number> {
    return this.db.ops(async (tx) => {
      const row = await credentialOf(tx, credentialId);
      const cluster = row && (await lockCluster(tx, row.cluster_ref));
      if (!cluster || !(await isWriter(tx, cluster, row))) throw fenced('Another worker has taken over while the work went on.');
      const [after] = await tx.query<{ recorded_serial: number }>(
        `update terraform_clusters set recorded_serial = recorded_serial + 1, spec = $2, nodes = $3, updated_at = $4 where cluster_ref = $1
         returning recorded_serial`,
        [row.cluster_ref, done.spec ? JSON.stringify(done.spec) : null, JSON.stringify(done.nodes), realNow()],
      );
      return after!.recorded_serial;
    });
  }

  async setManaged(clusterRef: string, managed: boolean): Promise<void> {
    await this.db.ops((tx: Tx) =>
      tx.query(
        'update terraform_clusters set managed = $2, recorded_serial = recorded_serial + 1, updated_at = $3 where cluster_ref = $1',
        [clusterRef, managed, realNow()],
      ),
    );
  }
}
