import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, GIB, Harness, sampleEvent, STORED, watermarkEvent, type Purchase } from '../src/testing/index.js';

let database: TestDatabase;
let h: Harness;
let plan: string;
const START = at('10T10:00');
const T = at('10T10:10');

beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START);
  plan = await h.fixtures.plan([STORED]);
});
afterAll(async () => {
  await h.close();
  await database.drop();
});

const post = async (...events: unknown[]): Promise<string[]> =>
  (await h.metering.ingest(h.cell, events)).results.map((r) => (r.code ? `${r.outcome} ${r.code}` : r.outcome));
const minute = (n: number): Date => new Date(START.getTime() + n * 60_000);
const sample = (p: Purchase, n: number) => sampleEvent(h.source, p.placementId, minute(n), GIB, { id: `${p.placementId}.${n}` });
const ownersOf = async (p: Purchase): Promise<string[]> =>
  (
    await h.rows<{ owner: string }>(
      `select concat_ws(' ', extract(minute from e.occurred_at), e.tenant_id, e.subscription_id) as owner from usage_events e where placement_id = $1 order by occurred_at`,
      [p.placementId],
    )
  ).map((r) => r.owner);
const ownedBy = (p: Purchase, ...minutes: number[]): string[] => minutes.map((n) => `${n} ${p.tenantId} ${p.subscriptionId}`);

describe('a binding that intake remembers', () => {
  let p: Purchase;
  /** Of another tenant. */
  let next: Purchase;
  beforeEach(async () => {
    h.clock.set(START);
    p = await h.buy(plan, START);
    next = { ...(await h.fixtures.purchase({ planVersionId: plan, startsAt: START })), placementId: p.placementId };
    expect(await post(sample(p, 0))).toEqual(['accepted']);
    h.clock.set(minute(30));
  });

  it('takes no sample to whose it is no more, also where another process has moved it', async () => {
    await h.db.ops((tx) => h.metering.transferPlacement(tx, { placementId: p.placementId, toSubscriptionId: next.subscriptionId, at: T }));
    const heir = { ...next, tenantId: p.tenantId };
    expect(await post(sample(p, 5), sample(p, 15))).toEqual(['accepted', 'accepted']);
    expect(await post(sample(p, 16))).toEqual(['accepted']);
    expect(await ownersOf(p)).toEqual([...ownedBy(p, 0, 5), ...ownedBy(heir, 15, 16)]);
  });

  it('nor to another tenant, nor where nobody is', async () => {
    await h.db.ops((tx) => h.metering.unbindPlacement(tx, { placementId: p.placementId, until: T }));
    expect(await post(sample(p, 15))).toEqual(['rejected usage.unknown_placement']);
    expect(await post(sample(p, 10))).toEqual(['accepted']);
    await h.db.ops((tx) => h.metering.bindPlacement(tx, { ...next, source: h.source, from: minute(12) }));
    expect(await post(sample(p, 15), sample(p, 5))).toEqual(['accepted', 'accepted']);
    expect(await ownersOf(p)).toEqual([...ownedBy(p, 0, 5, 10), ...ownedBy(next, 15)]);
  });

  it('holds up nothing else of its group, which is stored once, with its numbers', async () => {
    const other = await h.buy(plan, START);
    expect(await post(sample(other, 0))).toEqual(['accepted']);
    const numbers = () => h.rows<{ n: number }>('select count(*)::int as n from usage_numbers');
    const [before] = await numbers();
    await h.db.ops((tx) => h.metering.unbindPlacement(tx, { placementId: p.placementId, until: T }));
    const both = await Promise.all([
      post({ ...sample(p, 15), sequence: '1000' }),
      post({ ...sample(other, 15), sequence: '2000' }),
      post({ ...sample(other, 15), sequence: '2000' }),
    ]);
    expect(both).toEqual([['rejected usage.unknown_placement'], ['accepted'], ['duplicate']]);
    expect(await ownersOf(other)).toEqual(ownedBy(other, 0, 15));
    expect((await numbers())[0]!.n).toBe(before!.n + 2);
  });

  it('and has what is known of it read again for a watermark and for an hour that nobody has claimed', async () => {
    await h.db.ops((tx) => h.metering.unbindPlacement(tx, { placementId: p.placementId, until: T }));
    h.clock.set(at('10T11:05'));
    const late = sampleEvent(h.source, p.placementId, at('10T11:01'), GIB);
    expect(await post(late, watermarkEvent(h.source, at('10T11:01')))).toEqual(['rejected usage.unknown_placement', 'accepted']);
    expect(await ownersOf(p)).toEqual(ownedBy(p, 0));
  });
});
