/** State of every cluster in Postgres: versioned, sealed, written by one holder at a time. */
import { realNow, sha256Hex, type Database, type Sealer, type Tx } from '#platform';
import { StateRefused, type Presented, type StateWire } from '../state/ports.js';
import {
  credentialOf,
  headOf,
  isLive,
  isWriter,
  lockCluster,
  provesItself,
  statePurpose,
  type ClusterRow,
  type CredentialRow,
} from './rows.js';

interface StateFile {
  readonly version?: unknown;
  readonly serial?: unknown;
  readonly lineage?: unknown;
  readonly resources?: unknown;
}

export class PgStateWire implements StateWire {
  constructor(
    private readonly db: Database,
    private readonly sealer: Sealer,
  ) {}

  async read(who: Presented): Promise<string | null> {
    return this.db.ops(async (tx) => {
      const credential = await this.proven(tx, who);
      if (!isLive(credential)) throw new StateRefused('not_writer');
      const head = await headOf(tx, who.clusterRef);
      return head?.sealed ? this.sealer.open(head.sealed, statePurpose(who.clusterRef, head.version)) : null;
    });
  }

  async write(who: Presented, lockId: string | null, text: string): Promise<void> {
    await this.asHolder(who, lockId, async (tx, credential) => {
      // Not before it is known who asks: a stranger's text is not read.
      const state = parse(text);
      const head = await headOf(tx, who.clusterRef);
      const sha256 = sha256Hex(text);
      if (head?.sealed) {
        if (head.lineage !== state.lineage) throw new StateRefused('other_lineage');
        // The answer to a write was lost: it is the same state once more.
        if (BigInt(head.serial) === BigInt(state.serial) && head.sha256 === sha256) return;
        if (BigInt(state.serial) <= BigInt(head.serial)) throw new StateRefused('stale_serial');
      }
      await this.append(tx, credential, (head?.version ?? 0) + 1, { ...state, sha256, text });
    });
  }

  async remove(who: Presented, lockId: string | null): Promise<void> {
    await this.asHolder(who, lockId, async (tx, credential) => {
      const head = await headOf(tx, who.clusterRef);
      if (!head?.sealed) return;
      const gone = { lineage: head.lineage, serial: Number(head.serial), resources: 0, sha256: head.sha256, text: null };
      await this.append(tx, credential, head.version + 1, gone);
    });
  }

  async lock(who: Presented, lockId: string, info: unknown): Promise<void> {
    await this.asWriter(who, async (tx, cluster) => {
      if (cluster.lock_id !== null) throw new StateRefused('locked', cluster.lock_info);
      await tx.query('update terraform_clusters set lock_id = $2, lock_info = $3, updated_at = $4 where cluster_ref = $1', [
        who.clusterRef,
        lockId,
        JSON.stringify(info),
        realNow(),
      ]);
    });
  }

  async unlock(who: Presented, lockId: string | null): Promise<void> {
    await this.asHolder(who, lockId, (tx) =>
      tx.query('update terraform_clusters set lock_id = null, lock_info = null, updated_at = $2 where cluster_ref = $1', [
        who.clusterRef,
        realNow(),
      ]),
    );
  }

  private async asHolder(
    who: Presented,
    lockId: string | null,
    work: (tx: Tx, credential: CredentialRow) => Promise<unknown>,
  ): Promise<void> {
    await this.asWriter(who, async (tx, cluster, credential) => {
      if (cluster.lock_id === null || cluster.lock_id !== lockId) throw new StateRefused('not_locked', cluster.lock_info);
      await work(tx, credential);
    });
  }

  /** A writer that was overtaken learns it here, in the transaction in which it would have written. */
  private async asWriter(
    who: Presented,
    work: (tx: Tx, cluster: ClusterRow, credential: CredentialRow) => Promise<unknown>,
  ): Promise<void> {
    await this.db.ops(async (tx) => {
      const cluster = await lockCluster(tx, who.clusterRef);
      const credential = await this.proven(tx, who);
      if (!cluster || !(await isWriter(tx, cluster, credential))) throw new StateRefused('not_writer');
      await work(tx, cluster, credential);
    });
  }

  private async proven(tx: Tx, who: Presented): Promise<CredentialRow> {
    const row = await credentialOf(tx, who.credentialId);
    if (!provesItself(row, who.clusterRef, who.secret)) throw new StateRefused('unauthenticated');
    return row;
  }

  private async append(
    tx: Tx,
    credential: CredentialRow,
    version: number,
    state: { lineage: string; serial: number; resources: number; sha256: string; text: string | null },
  ): Promise<void> {
    const ref = credential.cluster_ref;
    await tx.query(
      `insert into terraform_state_versions (cluster_ref, version, lineage, serial, sha256, bytes, resources, sealed, credential_id, operation_id, fencing_token, written_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
      [
        ref,
        version,
        state.lineage,
        state.serial,
        state.sha256,
        Buffer.byteLength(state.text ?? ''),
        state.resources,
        // A state holds what `sensitive` outputs hide, in plain text (contract provisioning §4.4).
        state.text === null ? null : this.sealer.seal(state.text, statePurpose(ref, version)),
        credential.credential_id,
        credential.operation_id,
        credential.fencing_token,
        realNow(),
      ],
    );
  }
}

function parse(text: string): { lineage: string; serial: number; resources: number } {
  let file: StateFile;
  try {
    file = JSON.parse(text) as StateFile;
  } catch {
    throw new StateRefused('bad_state');
  }
  const { serial, lineage, resources } = file ?? {};
  if (file?.version !== 4 || typeof lineage !== 'string' || lineage === '' || !Number.isSafeInteger(serial) || !Array.isArray(resources))
    throw new StateRefused('bad_state');
  return { lineage, serial: serial as number, resources: resources.length };
}
