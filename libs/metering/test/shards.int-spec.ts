import pg from 'pg';
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

  it('goes on without a series whose hour before is not closed, whatever shard the others were in then', async () => {
    const own = await createTestDatabase();
    const of = await Harness.open(own.url(), own.secret, START);
    const admin = new pg.Client({ connectionString: own.url() });
    await admin.connect();
    try {
      const gold = await of.fixtures.plan([STORED, EGRESS]);
      const bought = [];
      for (let i = 0; i < 3; i++) bought.push(await of.buy(gold, START));
      const placements = bought.map((p) => p.placementId);
      await of.metering.closeDueHours(); // makes the series
      await of.rows('update series set shard = 7');
      const hour = async (from: Date, to: Date): Promise<void> => {
        of.clock.set(to);
        await of.report(placements, from, to, 3n * GIB, 2n * MIB);
        await of.metering.closeDueHours();
      };
      await hour(START, at('10T11:00'));
      // Frozen rows do not go away: triggers off. One series was in another shard when it was closed.
      const [gone, moved] = bought.map((p) => p.subscriptionId);
      await admin.query('set session_replication_role = replica');
      expect(
        (await admin.query(`delete from hour_closings where subscription_id = $1 and meter = $2`, [gone, STORED.meter])).rowCount,
      ).toBe(1);
      await admin.query(`update hour_closings set shard = 8 where subscription_id = $1`, [moved]);
      await hour(at('10T11:00'), at('10T12:00'));
      expect(await of.rows('select subscription_id, meter, blocked_reason from series where blocked_reason is not null')).toEqual([
        { subscription_id: gone, meter: STORED.meter, blocked_reason: 'the closing of the hour before is missing' },
      ]);
      expect(await of.rows(`select count(*)::int as n from hour_closings where hour = $1`, [at('10T11:00')])).toEqual([{ n: 5 }]);
    } finally {
      await admin.end();
      await of.close();
      await own.drop();
    }
  });
});
