import { afterEach, describe, expect, it } from 'vitest';
import { eventually, gate, ManualClock } from '#platform/testing';
import {
  MarketplaceBusy,
  MarketplaceRefusal,
  type MarketplaceAdapter,
  type UsageItemOutcome,
  type UsageWireItem,
} from '#marketplaces/core';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, door, GIB, Harness, STORED } from '../src/testing/index.js';

const START = at('10T10:00');
type Send = (items: UsageWireItem[]) => Promise<UsageItemOutcome[]>;

let database: TestDatabase | undefined;
let h: Harness;
let real: ManualClock;
/** What the marketplace was asked, call by call. */
let asked: UsageWireItem[][];
let answer: (send: Send) => Send;

afterEach(async () => {
  await h.close();
  await database?.drop();
});

/** `purchases` with `hours` closed hours each from `start` on, nothing sent yet; a batch is one item if not said otherwise. */
async function waiting(purchases: number, hours: number, usage: Partial<MarketplaceAdapter['usage']> = {}, start = START): Promise<void> {
  asked = [];
  answer = (send) => send;
  real = new ManualClock(new Date('2026-01-01T00:00:00Z'));
  database = await createTestDatabase();
  const inner = door((send) => (items) => {
    asked.push(items);
    return answer(send)(items);
  });
  h = await Harness.open(database.url(), database.secret, start, inner, { batchSize: 1, ...usage }, { realNow: () => real.now() });
  const plan = await h.fixtures.plan([STORED]);
  const placements: string[] = [];
  for (let i = 0; i < purchases; i++) placements.push((await h.buy(plan, start)).placementId);
  const end = new Date(start.getTime() + hours * 3_600_000);
  h.clock.set(end);
  await h.report(placements, start, end, 3n * GIB);
  await h.metering.closeDueHours();
}
const counted = async (sql: string): Promise<Record<string, number>> =>
  Object.fromEntries((await h.rows<{ what: string; n: number }>(sql)).map((r) => [r.what, r.n]));
const states = (): Promise<Record<string, number>> =>
  counted('select state as what, count(*)::int as n from submission_items group by state');
const attempts = (): Promise<Record<string, number>> =>
  counted(`select coalesce(outcome, 'none') as what, count(*)::int as n from submission_attempts group by 1`);
const calls = (): Promise<Record<string, number>> =>
  counted(`select state as what, count(*)::int as n from calls where operation = 'submitUsage' group by 1`);
const lawHolds = async (): Promise<void> => {
  const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
  expect(law.series.flatMap((s) => s.missing)).toEqual([]);
  expect(law.ok).toBe(true);
};
/** The first `n` calls are answered, then everything hangs until the door opens. */
function hangAfter(n: number): ReturnType<typeof gate> {
  const shut = gate();
  answer = (send) => async (items) => {
    if (asked.length > n) await shut.opened;
    return send(items);
  };
  return shut;
}

describe('a wave', () => {
  it('has answers that come together share a commit', async () => {
    await waiting(40, 1);
    await h.metering.submitDue();
    expect([await states(), await calls()]).toEqual([{ accepted: 40 }, { ok: 40 }]);
    // Who answered it wrote it: a row is of the transaction that changed it last.
    const [row] = await h.rows<{ n: number }>('select count(distinct xmin::text)::int as n from submission_attempts');
    expect(row!.n).toBeLessThan(40);
    await lawHolds();
  });

  it('never mixes months in a batch, whatever is claimed together', async () => {
    await waiting(6, 6, { batchSize: 5 }, at('31T21:00'));
    await h.metering.submitDue();
    const months = asked.map((items) => new Set(items.map((i) => (JSON.parse(i.body) as { hour: string }).hour.slice(0, 7))).size);
    expect(months.every((n) => n === 1)).toBe(true);
    // 18 of each month: four batches each, and none is lost in between.
    expect([asked.length, await states()]).toEqual([8, { accepted: 36 }]);
    await lawHolds();
  });

  it('whose process dies before it has sent it is sent by the next one, with the same bytes, and nothing is doubled', async () => {
    await waiting(30, 1);
    const stored = new Set((await h.rows<{ wire: UsageWireItem }>('select wire from submission_items')).map((r) => r.wire.body));
    const shut = hangAfter(8);
    const dead = h.metering.submitDue();
    await eventually('more is claimed than sent', async () => {
      const { none = 0, accepted } = await attempts();
      return asked.length === 12 && accepted === 8 && none > 4;
    });
    const claimed = (await attempts())['none']!;
    expect(asked).toHaveLength(12); // four hang; what else is claimed was not sent
    answer = (send) => send;
    const next = h.another();
    await next.takeOver();
    await next.submitDue();
    expect(await states()).toEqual({ accepted: 30 });
    expect(h.market.billed()).toHaveLength(30);
    expect((await attempts())['unknown']).toBe(claimed);
    expect(asked.flat().every((i) => stored.has(i.body))).toBe(true);
    // The one taken for dead wakes up: its late answers and what it has not sent change nothing.
    shut.open();
    await dead;
    expect([await states(), h.market.billed().length]).toEqual([{ accepted: 30 }, 30]);
    expect((await calls())['intent']).toBeUndefined();
    await lawHolds();
  });

  it('goes back unsent where a call goes badly; then one is asked at a time, and each item is billed once', async () => {
    await waiting(30, 1);
    let now = 0;
    const under: number[] = [];
    answer = (send) => async (items) => {
      under.push((now += 1));
      try {
        if (asked.length === 9) throw new MarketplaceBusy('slow down', 0);
        await new Promise(setImmediate);
        return await send(items);
      } finally {
        now -= 1;
      }
    };
    await h.metering.submitDue();
    h.clock.advance(60_000);
    await h.metering.submitDue();
    const { not_sent: unsent = 0, ...others } = await attempts();
    expect(unsent).toBeGreaterThan(0);
    expect(others).toEqual({ accepted: 30, busy: 1 });
    expect([await states(), h.market.billed().length, asked.length]).toEqual([{ accepted: 30 }, 30, 31]);
    expect((await calls())['intent']).toBeUndefined();
    await lawHolds();
  });

  it('leaves the others settled where one batch of it is refused', async () => {
    await waiting(24, 1, { batchSize: 4 });
    let bad: string | undefined;
    answer = (send) => (items) => {
      if (asked.length === 3) bad = items[1]!.body;
      return items.some((i) => i.body === bad)
        ? Promise.reject(new MarketplaceRefusal('fake.bad_batch', 'one item is bad', 400))
        : send(items);
    };
    await h.metering.submitDue();
    expect(await states()).toEqual({ accepted: 23, held: 1 });
    expect(await h.rows('select kind from findings')).toEqual([{ kind: 'loss.quarantined' }]);
    expect(h.market.billed()).toHaveLength(23);
    await lawHolds();
  });

  it('takes no more tokens than there are, however many batches it is of', async () => {
    await waiting(30, 1, { rate: { perSecond: 0.1, burst: 12 } });
    const workers = [h.another(), h.another()];
    await Promise.all(workers.map((w) => w.submitDue()));
    expect(asked).toHaveLength(12);
    real.advance(70_000);
    await Promise.all(workers.map((w) => w.submitDue()));
    expect(asked).toHaveLength(19);
    expect(await states()).toEqual({ accepted: 19, pending: 11 });
    // What had no token was never claimed.
    expect(await attempts()).toEqual({ accepted: 19 });
  });

  it('is never ahead of what is being sent where a repeat is not safe', async () => {
    await waiting(20, 1, { safeResend: false });
    let most = 0;
    answer = (send) => async (items) => {
      most = Math.max(most, (await attempts())['none'] ?? 0);
      return send(items);
    };
    await h.metering.submitDue();
    expect(most).toBeLessThanOrEqual(4);
    expect(await states()).toEqual({ accepted: 20 });
  });

  it('is not sent after a hard deadline that has passed since it was claimed', async () => {
    await waiting(20, 1);
    const shut = hangAfter(8);
    const pass = h.metering.submitDue();
    await eventually('more is claimed than sent', async () => asked.length === 12 && ((await attempts())['none'] ?? 0) > 4);
    h.clock.set(at('11T10:00'));
    shut.open();
    await pass;
    const sent = asked.length;
    expect(sent).toBe(12);
    await h.metering.submitDue();
    expect([asked.length, await states()]).toEqual([sent, { accepted: 12, expired: 8 }]);
    expect(await h.rows(`select distinct kind from findings`)).toEqual([{ kind: 'loss.expired' }]);
    await lawHolds();
  });
});
