import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, describe, it } from 'vitest';
import { readMeteredMarks } from '#entitlements';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, EGRESS, Harness, STORED } from '../src/testing/index.js';

let database: TestDatabase;
let h: Harness;
const START = at('10T10:00');

beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START);
});
afterAll(async () => {
  await h.close();
  await database.drop();
});

const bucketOf = (subscriptionId: string): number => parseInt(subscriptionId.slice(0, 2), 16);
const marks = (): Promise<Map<number, string>> => h.db.ops((tx) => readMeteredMarks(tx));
const meters = async (subscriptionId: string): Promise<string[]> =>
  (await h.rows<{ meter: string }>('select meter from series where subscription_id = $1 order by meter', [subscriptionId])).map(
    (r) => r.meter,
  );

describe('the series of purchases', () => {
  it('are looked at again with whatever may change them, and only in the group that it changes', async () => {
    const plan = await h.fixtures.plan([STORED]);
    const other = await h.buy(plan, START);
    const p = await h.buy(plan, START);
    const bucket = bucketOf(p.subscriptionId);
    let before = await marks();
    expect(await marks()).toEqual(before);
    const changes: Record<string, () => Promise<unknown>> = {
      'a segment': () => h.fixtures.cut(p, at('10T10:30'), { planVersionId: plan, externalPlanId: 'gold' }),
      'an end': () => h.fixtures.end(p, at('10T10:40')),
      'a successor': () =>
        h.db.ops((tx) =>
          tx.query('update subscriptions set superseded_by = $2 where subscription_id = $1', [p.subscriptionId, other.subscriptionId]),
        ),
      'being settled': () =>
        h.db.ops((tx) => tx.query(`update subscriptions set state = 'cancelled' where subscription_id = $1`, [p.subscriptionId])),
    };
    for (const [what, change] of Object.entries(changes)) {
      await change();
      const now = await marks();
      expect(
        [...new Set([...now.keys(), ...before.keys()])].filter((b) => now.get(b) !== before.get(b)),
        what,
      ).toEqual([bucket]);
      before = now;
    }
  });

  it('are made with the first hour, and those of a later plan when it is bought', async () => {
    const p = await h.buy(await h.fixtures.plan([STORED]), START);
    await h.metering.closeDueHours();
    expect(await meters(p.subscriptionId)).toEqual([STORED.meter]);
    const both = await h.fixtures.plan([STORED, EGRESS], 'platinum');
    await h.fixtures.cut(p, at('10T10:30'), { planVersionId: both, externalPlanId: 'platinum' });
    await h.metering.closeDueHours();
    expect(await meters(p.subscriptionId)).toEqual([STORED.meter, EGRESS.meter].sort());
    await h.fixtures.end(p, at('10T10:45'));
    await h.metering.closeDueHours();
    expect(await h.rows('select distinct ended_at from series where subscription_id = $1', [p.subscriptionId])).toEqual([
      { ended_at: at('10T10:45') },
    ]);
  });

  it('of a group that has not changed are not read again', async () => {
    const p = await h.buy(await h.fixtures.plan([STORED]), START);
    await h.metering.closeDueHours();
    // A series that nobody asked for shows whether a pass looks: it takes over the end of its purchase.
    await h.db.ops((tx) => tx.query('update series set ended_at = $2 where subscription_id = $1', [p.subscriptionId, at('10T10:59')]));
    await h.fixtures.end(p, at('10T10:50'));
    const mark = (await marks()).get(bucketOf(p.subscriptionId));
    const ends = (): Promise<unknown[]> => h.rows('select ended_at from series where subscription_id = $1', [p.subscriptionId]);
    await h.db.ops((tx) => tx.query('update series_marks set mark = $2 where bucket = $1', [bucketOf(p.subscriptionId), mark]));
    await h.metering.closeDueHours();
    expect(await ends()).toEqual([{ ended_at: at('10T10:59') }]);
    await h.db.ops((tx) => tx.query('update series_marks set mark = $2 where bucket = $1', [bucketOf(p.subscriptionId), randomUUID()]));
    await h.metering.closeDueHours();
    expect(await ends()).toEqual([{ ended_at: at('10T10:50') }]);
  });
});
