import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { listFindings, readAtRisk } from '../src/index.js';
import { at, EGRESS, GIB, Harness, MIB, STORED, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');

describe('a price that nobody knows', () => {
  let database: TestDatabase;
  let h: Harness;
  beforeAll(async () => {
    database = await createTestDatabase();
    h = await Harness.open(database.url(), database.secret, START);
    h.fixtures.withPrices = false;
  });
  afterAll(async () => {
    await h.close();
    await database.drop();
  });

  const price = (dimension: string, of: { subscriptionId?: string; from?: Date; plan?: string } = {}) =>
    h.db.ops((tx) =>
      h.metering.recordPrice(tx, {
        marketplace: 'azure',
        externalOfferId: 'object-cells',
        externalPlanId: of.plan ?? 'gold',
        dimension,
        subscriptionId: of.subscriptionId ?? null,
        currency: 'USD',
        unitPrice: '0.5',
        effectiveFrom: of.from ?? START,
        source: 'listing of 2026-03',
        recordedBy: 'Ada Winter',
      }),
    );
  const open = async (p?: Purchase): Promise<string[]> =>
    (await h.db.ops((tx) => listFindings(tx, { limit: 100, ...(p ? { subscriptionId: p.subscriptionId } : {}) }))).items
      .filter((f) => f.kind === 'price_unknown' && f.settlement === null)
      .map((f) => `${f.dimension} ${f.hour!.toISOString().slice(8, 13)} ${f.units}`)
      .sort();
  const pass = async (purchases: Purchase[], hour: number): Promise<void> => {
    h.clock.set(at(`10T${hour + 1}:00`));
    await h.report(
      purchases.map((p) => p.placementId),
      at(`10T${hour}:00`),
      at(`10T${hour + 1}:00`),
      2n * GIB,
      MIB,
      START,
    );
    await h.metering.closeDueHours();
  };

  it('is a finding once for each segment and dimension, also for another worker, and settles itself by the price of its hour', async () => {
    const plan = await h.fixtures.plan([STORED, EGRESS]);
    const [a, b, test, own] = [await h.buy(plan, START), await h.buy(plan, START), await h.buy(plan, START), await h.buy(plan, START)];
    await h.rows('update subscriptions set is_test = true where subscription_id = $1', [test.subscriptionId]);
    await price('stored', { subscriptionId: own.subscriptionId });
    await pass([a, b, test, own], 10);
    expect(await open(a)).toEqual(['egress 10T10 11', 'stored 10T10 2']);
    expect(await open(b)).toHaveLength(2);
    expect(await open(test), 'a test purchase has no money').toEqual([]);
    expect(await open(own), 'its own price is known').toEqual(['egress 10T10 11']);
    const [risk] = await h.db.ops((tx) => readAtRisk(tx, h.clock.now()));
    expect(risk!.buckets.flatMap((x) => x.unpriced.map((u) => u.dimension)).sort()).toEqual(['egress', 'stored']);

    h.metering = h.another();
    await pass([a, b, test, own], 11);
    expect(await open()).toHaveLength(5);

    // Another segment is another finding; the first stays.
    await h.fixtures.cut(b, at('10T12:00'), { planVersionId: plan, externalPlanId: 'gold', reason: 'renewal' });
    await pass([a, b, test, own], 12);
    expect(await open(b)).toEqual(['egress 10T10 11', 'egress 10T12 12', 'stored 10T10 2', 'stored 10T12 2']);

    // From noon on only: what was used before has no price still.
    await price('stored', { from: at('10T12:00') });
    expect(await open(b)).toEqual(['egress 10T10 11', 'egress 10T12 12', 'stored 10T10 2']);
    await price('stored', { plan: 'silver' });
    expect(await open(b)).toHaveLength(3);
    await price('stored');
    expect(await open(b)).toEqual(['egress 10T10 11', 'egress 10T12 12']);
    expect(await open(a)).toEqual(['egress 10T10 11']);
    const settled = (await h.db.ops((tx) => listFindings(tx, { limit: 100, subscriptionId: a.subscriptionId }))).items.find(
      (f) => f.settlement !== null,
    );
    expect(settled!.settlement).toMatchObject({ kind: 'fix_mapping', actor: 'prices', effect: '0.5 USD a unit, from listing of 2026-03' });

    // A purchase whose prices are known says nothing.
    await price('egress');
    const late = await h.buy(plan, at('10T13:00'));
    await pass([a, b, test, own, late], 13);
    expect(await open()).toEqual([]);
  });

  it('is said by the next try where the one that said it was rolled back', async () => {
    const from = at('12T10:00');
    const p = await h.buy(await h.fixtures.plan([STORED], 'unlisted'), from, 'unlisted');
    h.clock.set(at('12T11:00'));
    await h.report([p.placementId], from, at('12T11:00'), 2n * GIB, MIB, from);
    const admin = new pg.Client({ connectionString: database.url() });
    await admin.connect();
    // The last statement of a closing's transaction fails once, at its commit.
    await admin.query(
      `create function fail_once() returns trigger language plpgsql as $$ begin raise exception 'the disk is full' using errcode = '53100'; end $$`,
    );
    await admin.query(
      `create constraint trigger fail_once after insert on hour_closings deferrable initially deferred
         for each row when (new.subscription_id = '${p.subscriptionId}') execute function fail_once()`,
    );
    await expect(h.metering.closeDueHours()).rejects.toThrow('the disk is full');
    expect(await open(p)).toEqual([]);
    await admin.query('drop trigger fail_once on hour_closings');
    await admin.end();
    await h.metering.closeDueHours();
    expect(await open(p)).toEqual(['stored 12T10 2']);
  });
});
