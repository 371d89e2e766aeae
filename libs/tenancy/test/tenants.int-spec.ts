import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, Sealer, type Database } from '#platform';
import { ManualClock } from '#platform/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { Tenants } from '../src/index.js';

describe('the tenant of a purchase', () => {
  const tenants = new Tenants(new ManualClock(new Date('2030-05-01T10:00:00Z')), new Sealer('a secret of the tests'));
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

  const ensure = (purchaseId: string, change: Partial<Parameters<Tenants['ensureForPurchase']>[1]> = {}) =>
    db.ops((tx) => tenants.ensureForPurchase(tx, { purchaseId, displayName: 'Winter', region: 'here', contact: null, ...change }));

  it('is one, however many make it at once and at whichever of its keys they meet', async () => {
    for (let round = 0; round < 60; round += 1) {
      const purchaseId = randomUUID();
      const made = await Promise.all(Array.from({ length: 6 }, () => ensure(purchaseId)));
      expect(new Set(made.map((t) => `${t.tenantId} ${t.slug}`)).size).toBe(1);
    }
  });

  it('keeps its slug and region, and takes the name and contact of a later landing', async () => {
    const purchaseId = randomUUID();
    const first = await ensure(purchaseId, { contact: { name: 'Ada Example', email: 'ada@winter.example' } });
    const later = await ensure(purchaseId, { displayName: 'Winter Observatory', region: 'there' });
    expect(later).toEqual({ ...first, displayName: 'Winter Observatory' });
    const contact = async (): Promise<unknown> =>
      (await db.ops((tx) => tx.query('select contact from tenants where tenant_id = $1', [first.tenantId])))[0];
    const kept = await contact();
    expect(kept).not.toEqual({ contact: null });
    await ensure(purchaseId);
    expect(await contact()).toEqual(kept);
  });
});
