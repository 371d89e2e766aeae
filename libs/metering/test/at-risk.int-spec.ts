import { afterEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { readAtRisk, type AtRisk } from '../src/index.js';
import { at, GIB, Harness, STORED } from '../src/testing/index.js';

const START = at('10T10:00');

describe('what is at risk', () => {
  let database: TestDatabase;
  let h: Harness;
  afterEach(async () => {
    await h.close();
    await database.drop();
  });
  const look = (): Promise<AtRisk[]> => h.db.ops((tx) => readAtRisk(tx, h.clock.now()));

  it('grows while the marketplace is down, moves towards its deadline, and is gone with the receipts', async () => {
    database = await createTestDatabase();
    h = await Harness.open(database.url(), database.secret, START);
    h.fixtures.withPrices = false;
    const p = await h.buy(await h.fixtures.plan([STORED]), START);
    await h.db.ops((tx) =>
      h.metering.recordPrice(tx, {
        marketplace: p.marketplace,
        externalOfferId: 'object-cells',
        externalPlanId: 'gold',
        dimension: 'stored',
        subscriptionId: null,
        currency: 'USD',
        unitPrice: '0.25',
        effectiveFrom: START,
        source: 'listing of 2026-03',
        recordedBy: 'Ada Winter',
      }),
    );
    expect(await look()).toEqual([]);

    for (const hour of [11, 12]) {
      h.clock.set(at(`10T${hour}:00`));
      await h.report([p.placementId], at(`10T${hour - 1}:00`), at(`10T${hour}:00`), 2n * GIB);
      await h.metering.closeDueHours();
    }
    const stored = (units: string) => [{ dimension: 'stored', listedUnit: 'GiB-hour', units }];
    expect(await look()).toMatchObject([
      {
        marketplace: 'azure',
        items: 2,
        alert: 'none',
        buckets: [{ within: 'later', dimensions: stored('4'), amounts: [{ amount: '1' }] }],
      },
    ]);

    const [{ first }] = (await h.rows<{ first: Date }>('select min(hard_at) as first from submission_items')) as [{ first: Date }];
    h.clock.set(new Date(first.getTime() - 3_600_000));
    expect(await look()).toMatchObject([
      {
        alert: 'page',
        nextDeadline: first,
        buckets: [
          { within: '1h', items: 1, dimensions: stored('2'), amounts: [{ currency: 'USD', amount: '0.5' }] },
          { within: '4h', items: 1 },
        ],
      },
    ]);

    await h.metering.submitDue();
    expect(await look()).toEqual([]);
  });
});
