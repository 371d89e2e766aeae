import { randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, realNow, type Database } from '#platform';
import { ManualClock } from '#platform/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { KeyChecks, Keys, type NewKey } from '../src/index.js';

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

  it('of an operator is revoked by another one; of two who revoke each other’s at once, one is left', async () => {
    const issue = async (): Promise<string> => (await db.ops((tx) => keys.issue(tx, { kind: 'operator', name: 'one of two' }))).keyId;
    for (let round = 0; round < 10; round += 1) {
      const [a, b] = [await issue(), await issue()];
      const revoke = (keyId: string, by: string): Promise<unknown> =>
        db.ops((tx) => keys.revokeOperator(tx, keyId, by)).catch((error: unknown) => error);
      const said = await Promise.all([revoke(b, a), revoke(a, b)]);
      expect(said.filter((one) => one === true)).toHaveLength(1);
      expect(said.find((one) => one !== true)).toMatchObject({ code: 'auth.key_invalid' });
      const left = await db.ops((tx) => tx.query('select 1 from api_keys where key_id = any($1::text[]) and revoked_at is null', [[a, b]]));
      expect(left).toHaveLength(1);
      expect(await revoke('nobodys', a)).toMatchObject({ code: 'operator_key.not_found' });
    }
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

  describe('checked for one who posts often', () => {
    /** Two processes: each with what it remembers. */
    const processes = () =>
      [1, 2].map(() => new Keys(new ManualClock(new Date('2030-05-01T10:00:00Z')))).map((k) => ({ keys: k, checks: new KeyChecks(k, db) }));
    const rename = (keyId: string, name: string) =>
      db.ops((tx) => tx.query('update api_keys set name = $2 where key_id = $1', [keyId, name]));

    it('is read again once what is known of it is too old, and always by those who want it as it is now', async () => {
      const { checks } = processes()[0]!;
      const { keyId, key } = await issue({ name: 'before' });
      expect(await checks.check(key, 60_000)).toMatchObject({ name: 'before' });
      await rename(keyId, 'after');
      expect(await checks.check(key, 60_000)).toMatchObject({ name: 'before' });
      expect(await checks.check(key)).toMatchObject({ name: 'after' });
      const began = performance.now();
      while (performance.now() - began < 5) await new Promise(setImmediate);
      expect(await checks.check(key, 1)).toMatchObject({ name: 'after' });
    });

    it('is refused at once where it was revoked, and elsewhere once what is known is too old', async () => {
      const [here, there] = processes() as [ReturnType<typeof processes>[0], ReturnType<typeof processes>[0]];
      const { keyId, key } = await issue();
      await Promise.all([here.checks.check(key, 60_000), there.checks.check(key, 60_000)]);
      const reading = here.checks.check(key);
      await db.ops((tx) => here.keys.revoke(tx, keyId));
      await reading;
      await expect(here.checks.check(key, 60_000)).rejects.toMatchObject(INVALID);
      await expect(there.checks.check(key, 60_000)).resolves.toMatchObject({ keyId });
      await expect(there.checks.check(key, 0.001)).rejects.toMatchObject(INVALID);
    });

    it('of a cluster that is gone is refused at once where that was said', async () => {
      const { keys: mine, checks } = processes()[0]!;
      const clusterId = randomUUID();
      const { key } = await issue({ kind: 'cell', clusterId });
      await checks.check(key, 60_000);
      await db.ops((tx) => mine.revokeCell(tx, clusterId));
      await expect(checks.check(key, 60_000)).rejects.toMatchObject(INVALID);
    });

    it('is not remembered when it was read while a key was revoked, nor when its revocation came to nothing', async () => {
      const { keys: mine, checks } = processes()[0]!;
      const { keyId, key } = await issue({ name: 'before' });
      const reading = checks.check(key, 60_000);
      // Commits before the reading has come back.
      await mine.revoke({ query: () => Promise.resolve([]), afterCommit: (action: () => void) => action() } as never, 'somebody else');
      await reading;
      await expect(
        db.ops(async (tx) => {
          await mine.revoke(tx, keyId);
          throw new Error('no');
        }),
      ).rejects.toThrow('no');
      await rename(keyId, 'after');
      expect(await checks.check(key, 60_000)).toMatchObject({ name: 'after' });
    });

    it('is refused once it has expired, though it is remembered, and no other secret passes for it', async () => {
      const { checks } = processes()[0]!;
      const { keyId, key } = await issue({ expiresAt: new Date(realNow().getTime() + 400) });
      await checks.check(key, 60_000);
      await expect(checks.check(signed(`bop_${keyId}_${'A'.repeat(43)}`), 60_000)).rejects.toMatchObject(INVALID);
      await expect.poll(() => checks.check(key, 60_000).catch((e: { code: string }) => e.code), { timeout: 5_000 }).toBe(INVALID.code);
    });
  });
});
