import { randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, realNow, type Database } from '#platform';
import { ManualClock } from '#platform/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { Keys, type NewKey } from '../src/index.js';

const INVALID = { code: 'auth.key_invalid', status: 401 };

describe('an API key', () => {
  const keys = new Keys(new ManualClock(new Date('2030-05-01T10:00:00Z')));
  let base: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret });
  });
  afterAll(async () => {
    await db?.close();
    await base?.drop();
  });

  const issue = (key: Partial<NewKey> = {}) => db.ops((tx) => keys.issue(tx, { kind: 'operator', name: 'Grace Example', ...key }));
  const authenticate = (key: string) => db.ops((tx) => keys.authenticate(tx, key));
  /** The same text with its checksum made right again, as a forger would. */
  const signed = (head: string): string => `${head}${crc32(head).toString(16).padStart(8, '0')}`;

  it('leads to its principal, by kind', async () => {
    const tenantId = randomUUID();
    const clusterId = randomUUID();
    const operator = await issue();
    const tenant = await issue({ kind: 'tenant', name: 'ci', tenantId });
    const cell = await issue({ kind: 'cell', name: 'cell 1', clusterId });
    expect(await authenticate(operator.key)).toEqual({ kind: 'operator', keyId: operator.keyId, name: 'Grace Example' });
    expect(await authenticate(tenant.key)).toEqual({ kind: 'tenant', keyId: tenant.keyId, name: 'ci', tenantId });
    expect(await authenticate(cell.key)).toEqual({ kind: 'cell', keyId: cell.keyId, name: 'cell 1', clusterId });
    expect([operator.key, tenant.key, cell.key].map((key) => key.slice(0, 4))).toEqual(['bop_', 'bte_', 'bce_']);
  });

  it('is kept as a hash only', async () => {
    const { keyId, key } = await issue();
    const [row] = await db.ops((tx) => tx.query('select * from api_keys where key_id = $1', [keyId]));
    expect(JSON.stringify(row)).not.toContain(key.slice(21, 64));
  });

  it('with a wrong checksum is refused without a look at the database', async () => {
    const { key } = await issue();
    const wrong = key.slice(0, -1) + (key.endsWith('0') ? '1' : '0');
    await expect(keys.authenticate({ query: () => Promise.reject(new Error('asked')) } as never, wrong)).rejects.toMatchObject(INVALID);
  });

  it('with another secret is refused, even with the right checksum', async () => {
    const { keyId } = await issue();
    await expect(authenticate(signed(`bop_${keyId}_${'A'.repeat(43)}`))).rejects.toMatchObject(INVALID);
  });

  it('of one kind does not pass as another', async () => {
    const { key } = await issue({ kind: 'tenant', tenantId: randomUUID() });
    await expect(authenticate(signed(`bop_${key.slice(4, -8)}`))).rejects.toMatchObject(INVALID);
  });

  it('is refused once revoked, and the first revocation stays', async () => {
    const { keyId, key } = await issue();
    await db.ops((tx) => keys.revoke(tx, keyId));
    await expect(authenticate(key)).rejects.toMatchObject(INVALID);
    await db.ops((tx) => new Keys(new ManualClock(new Date('2031-01-01T00:00:00Z'))).revoke(tx, keyId));
    expect(await db.ops((tx) => tx.query('select revoked_at from api_keys where key_id = $1', [keyId]))).toEqual([
      { revoked_at: new Date('2030-05-01T10:00:00Z') },
    ]);
  });

  it('is refused once it has expired, by real time', async () => {
    const alive = await issue({ expiresAt: new Date(realNow().getTime() + 60_000) });
    const dead = await issue({ expiresAt: new Date(realNow().getTime() - 1) });
    await expect(authenticate(alive.key)).resolves.toMatchObject({ kind: 'operator' });
    await expect(authenticate(dead.key)).rejects.toMatchObject(INVALID);
  });

  it.each(['', 'Bearer', 'bop_', 'bop_0123456789abcdef_short00000000', 'x'.repeat(10_000)])(
    'that is none at all is refused: %.20s',
    async (text) => {
      await expect(authenticate(text)).rejects.toMatchObject(INVALID);
    },
  );

  it('says the same to every refused caller', async () => {
    const { keyId, key } = await issue();
    await db.ops((tx) => keys.revoke(tx, keyId));
    const details = await Promise.all(
      [key, signed(`bop_${'0'.repeat(16)}_${'A'.repeat(43)}`), 'nonsense'].map((text) =>
        authenticate(text).catch((e: { detail: string }) => e.detail),
      ),
    );
    expect(new Set(details).size).toBe(1);
  });

  it("of a tenant cannot be made without one, nor a cell's without a cluster", async () => {
    await expect(issue({ kind: 'tenant' })).rejects.toThrow(/check constraint/);
    await expect(issue({ kind: 'cell' })).rejects.toThrow(/check constraint/);
    await expect(issue({ kind: 'operator', tenantId: randomUUID() })).rejects.toThrow(/check constraint/);
  });
});
