import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { Grouped, ProblemError, realNow, sameSecret, sha256Hex, type Clock, type Database, type Tx } from '#platform';
import type { Principal, PrincipalKind } from '../domain/principal.js';

const PREFIX: Record<PrincipalKind, string> = { operator: 'bop', tenant: 'bte', cell: 'bce' };
const SHAPE = /^(bop|bte|bce)_([a-z0-9]{16})_([A-Za-z0-9_-]{43})([0-9a-f]{8})$/;

const checksum = (text: string): string => crc32(text).toString(16).padStart(8, '0');

export interface NewKey {
  kind: PrincipalKind;
  name: string;
  tenantId?: string;
  clusterId?: string;
  expiresAt?: Date;
}

/**
 * API keys: `<kind>_<id>_<secret><checksum>`. The secret has 256 random bits and is stored as SHA-256 only; it is shown
 * once. The prefix and checksum make a leaked key findable.
 */
export class Keys {
  private readonly revoked: ((keyId: string) => void)[] = [];

  constructor(private readonly clock: Clock) {}

  async issue(tx: Tx, key: NewKey): Promise<{ keyId: string; key: string }> {
    const id = randomBytes(10).toString('hex').slice(0, 16);
    const secret = randomBytes(32).toString('base64url');
    const head = `${PREFIX[key.kind]}_${id}_${secret}`;
    await tx.query(
      `insert into api_keys (key_id, kind, tenant_id, cluster_id, name, secret_hash, created_at, expires_at) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
      [id, key.kind, key.tenantId ?? null, key.clusterId ?? null, key.name, sha256Hex(secret), this.clock.now(), key.expiresAt ?? null],
    );
    return { keyId: id, key: `${head}${checksum(head)}` };
  }

  /** The principal of a presented key, or a 401 that does not say which part was wrong. Runs under the ops role. */
  authenticate(tx: Tx, presented: string): Promise<Principal> {
    return this.check(presented, async (keyId) => (await readKeys(tx.query, [keyId])).get(keyId));
  }

  /** The same with the row from elsewhere: `read` is asked only for a key whose checksum is right, and must answer as of now. */
  async check(presented: string, read: (keyId: string) => Promise<KeyRow | undefined>): Promise<Principal> {
    return (await this.prove(presented, read)).principal;
  }

  /** The same, with the instant at which the key expires. */
  async prove(presented: string, read: (keyId: string) => Promise<KeyRow | undefined>): Promise<ProvedKey> {
    const m = SHAPE.exec(presented);
    if (!m || checksum(presented.slice(0, -8)) !== m[4]) throw refused();
    const row = await read(m[2]!);
    if (!row || !sameSecret(row.secret_hash, sha256Hex(m[3]!)) || row.revoked_at || PREFIX[row.kind] !== m[1]) throw refused();
    if (isPast(row.expires_at)) throw refused();
    return { principal: principalOf(m[2]!, row), expiresAt: row.expires_at };
  }

  /** When a key was made; null for none of ours. */
  async issuedAt(tx: Tx, keyId: string): Promise<Date | null> {
    const [row] = await tx.query<{ created_at: Date }>('select created_at from api_keys where key_id = $1', [keyId]);
    return row?.created_at ?? null;
  }

  /** The keys of operators, oldest first: each is a named person's. */
  async listOperators(tx: Tx): Promise<{ keyId: string; name: string; createdAt: Date; expiresAt: Date | null; revokedAt: Date | null }[]> {
    const rows = await tx.query<{ key_id: string; name: string; created_at: Date; expires_at: Date | null; revoked_at: Date | null }>(
      `select key_id, name, created_at, expires_at, revoked_at from api_keys where kind = 'operator' order by created_at, key_id limit 1000`,
    );
    return rows.map((r) => ({ keyId: r.key_id, name: r.name, createdAt: r.created_at, expiresAt: r.expires_at, revokedAt: r.revoked_at }));
  }

  /** A cluster that is gone posts nothing more. */
  async revokeCell(tx: Tx, clusterId: string): Promise<void> {
    const ended = await tx.query<{ key_id: string }>(
      `update api_keys set revoked_at = $2 where kind = 'cell' and cluster_id = $1 and revoked_at is null returning key_id`,
      [clusterId, this.clock.now()],
    );
    this.tellRevoked(
      tx,
      ended.map((k) => k.key_id),
    );
  }

  async revoke(tx: Tx, keyId: string): Promise<void> {
    await tx.query('update api_keys set revoked_at = $2 where key_id = $1 and revoked_at is null', [keyId, this.clock.now()]);
    this.tellRevoked(tx, [keyId]);
  }

  /**
   * An operator's key is revoked by another operator, whose own is still good: of two who revoke each other's at once one is left, who
   * can let the other in again. False: it was revoked before. Throws `operator_key.not_found` and `auth.key_invalid`.
   */
  async revokeOperator(tx: Tx, keyId: string, by: string): Promise<boolean> {
    const rows = await tx.query<{ key_id: string; revoked_at: Date | null }>(
      `select key_id, revoked_at from api_keys where kind = 'operator' and key_id = any($1::text[]) order by key_id for update`,
      [[keyId, by]],
    );
    const of = (id: string): { revoked_at: Date | null } | undefined => rows.find((r) => r.key_id === id);
    if (!of(keyId)) throw new ProblemError('not_found', 'operator_key.not_found', 'There is no such operator key.');
    if (of(by)?.revoked_at) throw refused();
    await this.revoke(tx, keyId);
    return of(keyId)!.revoked_at === null;
  }

  private tellRevoked(tx: Tx, keyIds: readonly string[]): void {
    tx.afterCommit(() => keyIds.forEach((keyId) => this.revoked.forEach((tell) => tell(keyId))));
  }

  /** Whoever remembers keys in this process hears of those that it revokes. */
  onRevoked(tell: (keyId: string) => void): void {
    this.revoked.push(tell);
  }
}

interface ProvedKey {
  principal: Principal;
  expiresAt: Date | null;
}

const isPast = (at: Date | null): boolean => at !== null && at <= realNow();

const refused = (): ProblemError =>
  new ProblemError(
    'unauthenticated',
    'auth.key_invalid',
    'The API key is missing, wrong, expired or revoked. Send it as "Authorization: Bearer <key>".',
  );

function principalOf(keyId: string, row: KeyRow): Principal {
  const base = { keyId, name: row.name };
  if (row.kind === 'operator') return { kind: 'operator', ...base };
  if (row.kind === 'tenant') return { kind: 'tenant', ...base, tenantId: row.tenant_id! };
  return { kind: 'cell', ...base, clusterId: row.cluster_id! };
}

/** A stored key. */
export interface KeyRow {
  kind: PrincipalKind;
  tenant_id: string | null;
  cluster_id: string | null;
  name: string;
  secret_hash: string;
  expires_at: Date | null;
  revoked_at: Date | null;
}

/** The stored keys of these ids, by id. */
export async function readKeys(query: Tx['query'], keyIds: readonly string[]): Promise<Map<string, KeyRow>> {
  const rows = await query<KeyRow & { key_id: string }>(
    'select key_id, kind, tenant_id, cluster_id, name, secret_hash, expires_at, revoked_at from api_keys where key_id = any($1::text[])',
    [keyIds],
  );
  return new Map(rows.map((r) => [r.key_id, r]));
}

/** Keys that are remembered; none of them as it was shown. */
const MOST_REMEMBERED = 10_000;

/**
 * Checks presented keys. Those that come at the same moment are read together, each as of after it came: a revoked key is
 * refused at once. Whoever asks `withinMs` is content with a reading of that age: there a key that another process revokes
 * passes for so long; one that this process revokes does not, and no key outlives its expiry.
 */
export class KeyChecks {
  private readonly reading: Grouped<string, KeyRow | undefined>;
  private readonly proved = new Map<string, ProvedKey & { readAt: number }>();
  private revocations = 0;

  constructor(
    private readonly keys: Keys,
    db: Database,
  ) {
    const read = (ids: readonly string[]): Promise<Map<string, KeyRow>> =>
      readKeys((sql, values) => db.opsStatement('keys', sql, values ?? []), [...new Set(ids)]);
    this.reading = new Grouped(
      async (ids) => {
        const rows = await read(ids);
        return ids.map((id) => rows.get(id));
      },
      async (id) => (await read([id])).get(id),
      { groups: 2, perGroup: 200, waiting: 5_000 },
    );
    keys.onRevoked((keyId) => {
      this.revocations += 1;
      for (const [digest, { principal }] of this.proved) if (principal.keyId === keyId) this.proved.delete(digest);
    });
  }

  async check(presented: string, withinMs = 0): Promise<Principal> {
    if (withinMs === 0) return this.keys.check(presented, (id) => this.reading.run(id));
    const known = this.known(presented, withinMs);
    if (known) return known;
    // As of before it was read: what is remembered is never younger than it says.
    const readAt = performance.now();
    const { revocations } = this;
    const proof = await this.keys.prove(presented, (id) => this.reading.run(id));
    // Read while a key was revoked: nobody knows whether before or after.
    if (revocations === this.revocations) this.remember(sha256Hex(presented), { ...proof, readAt });
    return proof.principal;
  }

  /** What `check` would answer without asking the database; undefined where it would have to. */
  known(presented: string, withinMs: number): Principal | undefined {
    const proof = this.proved.get(sha256Hex(presented));
    return proof && performance.now() - proof.readAt < withinMs && !isPast(proof.expiresAt) ? proof.principal : undefined;
  }

  private remember(digest: string, proof: ProvedKey & { readAt: number }): void {
    if (this.proved.size >= MOST_REMEMBERED) this.proved.clear();
    this.proved.set(digest, proof);
  }
}
