import { afterEach, describe, expect, it } from 'vitest';
import type { FakeMarketplace } from '#marketplaces/core/testing';
import type { Deadlines, UsageItemOutcome, UsageWireItem } from '#marketplaces/core';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, door, GIB, Harness, STORED } from '../src/testing/index.js';

const HOUR = 3_600_000;
/** Down from the 31st 08:00 to the 1st 04:00. */
const DOWN = at('31T08:00');
const UP = new Date('2026-04-01T04:00:00Z');
const MONTH_CLOSES = new Date('2026-04-01T06:00:00Z');
/** How long the marketplaces take for a batch: with 20 hours to catch up, not everything goes at once. */
const MINUTES_EACH = 13;

let database: TestDatabase;
let h: Harness;
afterEach(async () => {
  await h.close();
  await database.drop();
});

describe('after twenty hours down over the end of a month', () => {
  it('nothing is lost that could be saved: the order is by hard deadline, and the month before goes in batches of its own', async () => {
    const sent: { marketplace: string; hours: Date[]; at: Date }[] = [];
    const note = async (
      marketplace: string,
      items: UsageWireItem[],
      send: () => Promise<UsageItemOutcome[]>,
    ): Promise<UsageItemOutcome[]> => {
      h.clock.advance(MINUTES_EACH * 60_000);
      sent.push({ marketplace, hours: items.map((i) => new Date((JSON.parse(i.body) as { hour: string }).hour)), at: h.clock.now() });
      return send();
    };
    database = await createTestDatabase();
    const inner = door((send) => (items) => note('azure', items, () => send(items)));
    h = await Harness.open(database.url(), database.secret, DOWN, inner, { batchSize: 4 }, {}, ['aws']);
    // One counts a little less than a day from the hour on; the other closes the month for all of it at once.
    const [azure, aws] = [h.market, h.others[0]!] as [FakeMarketplace, FakeMarketplace];
    const hardOf = {
      azure: (hour: Date) => new Date(+hour + 21.5 * HOUR),
      aws: (hour: Date) => new Date(Math.min(+hour + 24 * HOUR, hour < new Date('2026-04-01T00:00:00Z') ? +MONTH_CLOSES : Infinity)),
    };
    for (const [market, hard] of [
      [azure, hardOf.azure],
      [aws, hardOf.aws],
    ] as const)
      Object.assign(market, {
        deadlines: ({ hourStart }: { hourStart: Date }): Deadlines => ({ target: hard(hourStart), hard: hard(hourStart) }),
      });
    const take = aws.submitUsage.bind(aws);
    Object.assign(aws, { submitUsage: (items: UsageWireItem[]) => note('aws', items, () => take(items)) });
    const [a, b] = [
      await h.buy(await h.fixtures.plan([STORED]), DOWN),
      await h.buy(await h.fixtures.plan([STORED], 'gold', undefined, 'aws'), DOWN, 'gold', aws),
    ];
    h.clock.set(UP);
    await h.report([a.placementId, b.placementId], DOWN, UP, 3n * GIB);
    await h.metering.closeDueHours();
    await h.metering.submitDue();

    expect(await h.rows('select state, count(*)::int as n from submission_items group by state')).toEqual([{ state: 'accepted', n: 40 }]);
    expect(await h.rows(`select 1 from findings where kind like 'loss.%'`)).toEqual([]);
    for (const marketplace of ['azure', 'aws'] as const) {
      const batches = sent.filter((s) => s.marketplace === marketplace);
      const deadlines = batches.flatMap((s) => s.hours.map((hour) => +hardOf[marketplace](hour)));
      expect(deadlines).toEqual([...deadlines].sort((x, y) => x - y));
      for (const s of batches) {
        expect(new Set(s.hours.map((hour) => hour.toISOString().slice(0, 7))).size).toBe(1);
        for (const hour of s.hours) expect(+s.at).toBeLessThanOrEqual(+hardOf[marketplace](hour));
      }
    }
    // The other way round the month's last batch would have gone after the month was closed.
    expect(+sent.at(-1)!.at).toBeGreaterThan(+MONTH_CLOSES);
    const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
    expect(law.series.flatMap((s) => s.missing)).toEqual([]);
    expect(law.ok).toBe(true);
  });
});
