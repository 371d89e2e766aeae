import { describe, expect, it } from 'vitest';
import { createTestDatabase } from '../../../test/support/database.js';
import { at, EGRESS, GIB, Harness, MIB, STORED } from '../src/testing/index.js';

const START = at('10T10:00');

describe('a shard of many series', () => {
  it('closes in pieces of whole purchases, each with a root of its own, every series once', async () => {
    const own = await createTestDatabase();
    const of = await Harness.open(own.url(), own.secret, START, undefined, {}, { seriesAtOnce: 3 });
    try {
      const gold = await of.fixtures.plan([STORED, EGRESS]);
      const bought = [];
      for (let i = 0; i < 5; i++) bought.push(await of.buy(gold, START));
      await of.metering.closeDueHours(); // makes the series
      await of.rows('update series set shard = 7');
      of.clock.set(at('10T11:00'));
      await of.report(
        bought.map((p) => p.placementId),
        START,
        at('10T11:00'),
        3n * GIB,
        2n * MIB,
      );
      await Promise.all([of.metering.closeDueHours(), of.another().closeDueHours()]);
      await of.metering.closeDueHours();
      expect(await of.rows('select leaves from hour_roots where shard = 7 order by sequence')).toEqual(
        [4, 4, 2].map((leaves) => ({ leaves })),
      );
      expect(
        await of.rows('select count(*)::int as n, count(distinct (subscription_id, meter))::int as series from hour_closings'),
      ).toEqual([{ n: 10, series: 10 }]);
      expect((await of.db.ops((tx) => of.metering.checkSumLaw(tx))).ok).toBe(true);
    } finally {
      await of.close();
      await own.drop();
    }
  });
});
