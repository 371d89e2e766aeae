import { afterEach, describe, expect, it } from 'vitest';
import type { UsageWireItem } from '#marketplaces/core';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, door, GIB, Harness, STORED, type Purchase } from '../src/testing/index.js';
import { houseOfClosedHours } from './closed-hours.js';

let database: TestDatabase | undefined;
let h: Harness;
afterEach(async () => {
  await h.close();
  await database?.drop();
});

const START = at('10T10:00');
async function closedHours(...wish: Parameters<typeof houseOfClosedHours>): Promise<Purchase[]> {
  const made = await houseOfClosedHours(...wish);
  ({ database, h } = made);
  return made.purchases;
}
const states = async (): Promise<Record<string, number>> =>
  Object.fromEntries(
    (await h.rows<{ state: string; n: number }>('select state, count(*)::int as n from submission_items group by state')).map((r) => [
      r.state,
      r.n,
    ]),
  );
const lawHolds = async (): Promise<void> => {
  const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
  expect(law.series.flatMap((s) => s.missing)).toEqual([]);
  expect(law.ok).toBe(true);
};
const attempts = async (): Promise<string[]> =>
  (await h.rows<{ outcome: string }>("select coalesce(outcome, 'none') as outcome from submission_attempts order by at, number")).map(
    (r) => r.outcome,
  );
const kinds = async (): Promise<string[]> =>
  (await h.rows<{ kind: string }>('select distinct kind from findings order by kind')).map((r) => r.kind);

describe('submission', () => {
  it('stores the intent before it sends, and the bytes once', async () => {
    const seen: unknown[] = [];
    await closedHours(
      2,
      door((send) => async (items) => {
        const [call] = await h.rows<{ state: string }>(`select state from calls where operation = 'submitUsage'`);
        const open = await h.rows(
          'select i.wire from submission_attempts a join submission_items i using (item_id) where a.outcome is null',
        );
        seen.push(
          call!.state,
          open.length,
          open
            .map((o) => (o as { wire: UsageWireItem }).wire.body)
            .sort()
            .join() ===
            items
              .map((i) => i.body)
              .sort()
              .join(),
        );
        return send(items);
      }),
    );
    await h.metering.submitDue();
    expect(seen).toEqual(['intent', 2, true]);
    expect(await states()).toEqual({ accepted: 2 });
    expect(await h.rows(`select state from calls where operation = 'submitUsage'`)).toEqual([{ state: 'ok' }]);
    await lawHolds();
  });

  it('asks again with the same bytes after a lost answer, and bills once', async () => {
    const sent: string[] = [];
    const [p] = await closedHours(
      1,
      door((send) => async (items) => {
        sent.push(JSON.stringify(items));
        return send(items);
      }),
    );
    h.market.failNext('submitUsage', 'lost');
    await h.metering.submitDue();
    expect(await states()).toEqual({ unknown: 1 });
    await lawHolds();
    h.clock.advance(600_000);
    await h.metering.submitDue();
    expect(await attempts()).toEqual(['unknown', 'duplicate_equal']);
    expect(sent[0]).toBe(sent[1]);
    expect(h.market.billed(p!.externalSubscriptionId)).toHaveLength(1);
    await lawHolds();
  });

  it('does not lose or double what was in flight when the process died, before or after the call', async () => {
    for (const when of ['before', 'after'] as const) {
      let dead = true;
      const [p] = await closedHours(
        1,
        door((send) => (items) => {
          if (!dead) return send(items);
          return (when === 'after' ? send(items) : Promise.resolve()).then(() => new Promise<never>(() => {})); // the process is gone: nothing comes back
        }),
        {},
        0,
      );
      void h.metering.submitDue();
      await expect
        .poll(async () => [await attempts(), h.market.billed(p!.externalSubscriptionId).length], { timeout: 5_000 })
        .toEqual([['none'], when === 'after' ? 1 : 0]);
      dead = false;
      await h.another().submitDue();
      expect(await attempts()).toEqual(['unknown', when === 'after' ? 'duplicate_equal' : 'accepted']);
      expect(h.market.billed(p!.externalSubscriptionId)).toHaveLength(1);
      expect(
        (await h.rows<{ state: string }>(`select state from calls where operation = 'submitUsage' order by intent_at, call_id`)).map(
          (c) => c.state,
        ),
      ).toEqual(['unknown', 'ok']);
      await lawHolds();
      if (when === 'before') {
        await h.close();
        await database!.drop();
        database = undefined;
      }
    }
  });

  it('never sends one item twice at once, however many workers there are', async () => {
    const inFlight = new Map<string, number>();
    let doubled = 0;
    await closedHours(
      30,
      door((send) => async (items) => {
        for (const i of items) {
          inFlight.set(i.itemId, (inFlight.get(i.itemId) ?? 0) + 1);
          if (inFlight.get(i.itemId)! > 1) doubled += 1;
        }
        await new Promise((r) => setImmediate(r));
        return send(items);
      }),
      { batchSize: 4 },
    );
    await Promise.all(Array.from({ length: 4 }, () => h.another().submitDue()));
    expect([doubled, inFlight.size, await states()]).toEqual([0, 30, { accepted: 30 }]);
    expect((await attempts()).length).toBe(30);
    await lawHolds();
  });

  it('holds what is implausible until a person lets it go', async () => {
    database = await createTestDatabase();
    h = await Harness.open(database.url(), database.secret, START);
    const plan = await h.fixtures.plan([STORED], 'gold', GIB.toString());
    const p = await h.buy(plan, START);
    h.clock.set(at('10T11:00'));
    await h.report([p.placementId], START, at('10T11:00'), 50n * GIB);
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    expect(await states()).toEqual({ held: 1 });
    expect(await kinds()).toEqual(['held_implausible']);
    const [item] = await h.rows<{ item_id: string }>('select item_id from submission_items');
    await h.db.ops((tx) => h.metering.releaseHeld(tx, item!.item_id));
    await h.metering.submitDue();
    expect(await states()).toEqual({ accepted: 1 });
    await expect(h.db.ops((tx) => h.metering.releaseHeld(tx, item!.item_id))).rejects.toThrow(/not_held/);
    const [finding] = await h.rows<{ finding_id: string }>('select finding_id from findings');
    const words = { kind: 'release' as const, actor: 'operator:a', reason: 'a known import' };
    await h.db.ops((tx) => h.metering.settleFinding(tx, { findingId: finding!.finding_id, words }));
    await expect(
      h.db.ops((tx) => h.metering.settleFinding(tx, { findingId: finding!.finding_id, words: { ...words, reason: 'again' } })),
    ).rejects.toThrow(/already_settled/);
  });

  it('sends the earliest deadline first and never mixes months', async () => {
    const batches: string[][] = [];
    database = await createTestDatabase();
    h = await Harness.open(
      database.url(),
      database.secret,
      at('31T22:00'),
      door((send) => (items) => {
        batches.push(items.map((i) => (JSON.parse(i.body) as { hour: string }).hour.slice(0, 13)));
        return send(items);
      }),
    );
    const p = await h.buy(await h.fixtures.plan([STORED]), at('31T22:00'));
    h.clock.set(new Date('2026-04-01T02:00:00Z'));
    await h.report([p.placementId], at('31T22:00'), new Date('2026-04-01T02:00:00Z'), 3n * GIB);
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    expect(batches).toEqual([
      ['2026-03-31T22', '2026-03-31T23'],
      ['2026-04-01T00', '2026-04-01T01'],
    ]);
    await lawHolds();
  });

  it('stops a series whose predecessor is missing, with a finding, and not the others', async () => {
    const [a, b] = await closedHours(2);
    await h.db.ops((tx) =>
      tx.query(
        `update series set first_hour = first_hour - interval '1 hour', next_hour = next_hour + interval '1 hour' where subscription_id = $1`,
        [a!.subscriptionId],
      ),
    );
    h.clock.set(at('10T13:00'));
    await h.report([a!.placementId, b!.placementId], at('10T11:05'), at('10T13:00'), 3n * GIB);
    await h.metering.closeDueHours();
    expect(await h.rows(`select 1 from usage_records where subscription_id = $1`, [b!.subscriptionId])).toHaveLength(3);
    expect(await h.rows(`select 1 from usage_records where subscription_id = $1`, [a!.subscriptionId])).toHaveLength(1);
    expect(await kinds()).toEqual(['lane_parked']);
    expect((await h.db.ops((tx) => h.metering.checkSumLaw(tx, { subscriptionIds: [a!.subscriptionId] }))).ok).toBe(false);
  });
});
