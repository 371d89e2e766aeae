import { describe, expect, it } from 'vitest';
import { eventually, gate } from '#platform/testing';
import { MarketplaceBusy, MarketplaceRefusal, type UsageWireItem } from '#marketplaces/core';
import { at } from '../src/testing/index.js';
import { WaitingHouse } from './waiting-house.js';

const house = new WaitingHouse();
/** A batch is one item if not said otherwise. */
const waiting = (...[purchases, hours, usage, start]: Parameters<WaitingHouse['open']>): Promise<unknown> =>
  house.open(purchases, hours, { batchSize: 1, ...usage }, start);
const attempts = (): Promise<Record<string, number>> =>
  house.counted(`select coalesce(outcome, 'none') as what, count(*)::int as n from submission_attempts group by 1`);
const calls = (): Promise<Record<string, number>> =>
  house.counted(`select state as what, count(*)::int as n from calls where operation = 'submitUsage' group by 1`);
/** The first `n` calls are answered, then everything hangs until the door opens. */
function hangAfter(n: number): ReturnType<typeof gate> {
  const shut = gate();
  house.answer = (send) => async (items) => {
    if (house.asked.length > n) await shut.opened;
    return send(items);
  };
  return shut;
}

describe('a wave', () => {
  it('has answers that come together share a commit', async () => {
    await waiting(40, 1);
    await house.h.metering.submitDue();
    expect([await house.states(), await calls()]).toEqual([{ accepted: 40 }, { ok: 40 }]);
    // Who answered it wrote it: a row is of the transaction that changed it last.
    const [row] = await house.h.rows<{ n: number }>('select count(distinct xmin::text)::int as n from submission_attempts');
    expect(row!.n).toBeLessThan(40);
    await house.lawHolds();
  });

  it('never mixes months in a batch, whatever is claimed together', async () => {
    await waiting(6, 6, { batchSize: 5 }, at('31T21:00'));
    await house.h.metering.submitDue();
    const months = house.asked.map((items) => new Set(items.map((i) => (JSON.parse(i.body) as { hour: string }).hour.slice(0, 7))).size);
    expect(months.every((n) => n === 1)).toBe(true);
    // 18 of each month: four batches each, and none is lost in between.
    expect([house.asked.length, await house.states()]).toEqual([8, { accepted: 36 }]);
    await house.lawHolds();
  });

  it('whose process dies before it has sent it is sent by the next one, with the same bytes, and nothing is doubled', async () => {
    await waiting(30, 1);
    const stored = new Set((await house.h.rows<{ wire: UsageWireItem }>('select wire from submission_items')).map((r) => r.wire.body));
    const shut = hangAfter(8);
    const dead = house.h.metering.submitDue();
    await eventually('more is claimed than sent', async () => {
      const { none = 0, accepted } = await attempts();
      return house.asked.length === 12 && accepted === 8 && none > 4;
    });
    const claimed = (await attempts())['none']!;
    expect(house.asked).toHaveLength(12); // four hang; what else is claimed was not sent
    house.answer = (send) => send;
    const next = house.h.another();
    await next.takeOver();
    await next.submitDue();
    expect(await house.states()).toEqual({ accepted: 30 });
    expect(house.h.market.billed()).toHaveLength(30);
    expect((await attempts())['unknown']).toBe(claimed);
    expect(house.asked.flat().every((i) => stored.has(i.body))).toBe(true);
    // The one taken for dead wakes up: its late answers and what it has not sent change nothing.
    shut.open();
    await dead;
    expect([await house.states(), house.h.market.billed().length]).toEqual([{ accepted: 30 }, 30]);
    expect((await calls())['intent']).toBeUndefined();
    await house.lawHolds();
  });

  it('goes back unsent where a call goes badly, nothing is asked while the others hang, and each item is billed once', async () => {
    await waiting(30, 1);
    const [bad, others] = [gate(), gate()];
    house.answer = (send) => async (items) => {
      const nth = house.asked.length;
      if (nth === 9) {
        await bad.opened;
        throw new MarketplaceBusy('slow down', 0);
      }
      if (nth > 9 && nth <= 12) await others.opened;
      return send(items);
    };
    const pass = house.h.metering.submitDue();
    await eventually('more is claimed than sent', async () => house.asked.length === 12 && ((await attempts())['none'] ?? 0) > 4);
    bad.open();
    await eventually('what was not sent has gone back', async () => ((await attempts())['not_sent'] ?? 0) > 0);
    expect(house.asked).toHaveLength(12);
    others.open();
    await pass;
    house.h.clock.advance(60_000);
    await house.h.metering.submitDue();
    const { not_sent: _, ...sent } = await attempts();
    expect(sent).toEqual({ accepted: 30, busy: 1 });
    expect([await house.states(), house.h.market.billed().length, house.asked.length]).toEqual([{ accepted: 30 }, 30, 31]);
    expect((await calls())['intent']).toBeUndefined();
    await house.lawHolds();
  });

  it('leaves the others settled where one batch of it is refused', async () => {
    await waiting(24, 1, { batchSize: 4 });
    let bad: string | undefined;
    house.answer = (send) => (items) => {
      if (house.asked.length === 3) bad = items[1]!.body;
      return items.some((i) => i.body === bad)
        ? Promise.reject(new MarketplaceRefusal('fake.bad_batch', 'one item is bad', 400))
        : send(items);
    };
    await house.h.metering.submitDue();
    expect(await house.states()).toEqual({ accepted: 23, held: 1 });
    expect(await house.h.rows('select kind from findings')).toEqual([{ kind: 'loss.quarantined' }]);
    expect(house.h.market.billed()).toHaveLength(23);
    await house.lawHolds();
  });

  it('takes no more tokens than there are, however many batches it is of', async () => {
    await waiting(30, 1, { rate: { perSecond: 0.1, burst: 12 } });
    const workers = [house.h.another(), house.h.another()];
    await Promise.all(workers.map((w) => w.submitDue()));
    expect(house.asked).toHaveLength(12);
    house.real.advance(70_000);
    await Promise.all(workers.map((w) => w.submitDue()));
    expect(house.asked).toHaveLength(19);
    expect(await house.states()).toEqual({ accepted: 19, pending: 11 });
    // What had no token was never claimed.
    expect(await attempts()).toEqual({ accepted: 19 });
  });

  it('is never ahead of what is being sent where a repeat is not safe', async () => {
    await waiting(20, 1, { safeResend: false });
    let most = 0;
    house.answer = (send) => async (items) => {
      most = Math.max(most, (await attempts())['none'] ?? 0);
      return send(items);
    };
    await house.h.metering.submitDue();
    expect(most).toBeLessThanOrEqual(4);
    expect(await house.states()).toEqual({ accepted: 20 });
  });

  it('is not sent after a hard deadline that has passed since it was claimed', async () => {
    await waiting(20, 1);
    const shut = hangAfter(8);
    const pass = house.h.metering.submitDue();
    await eventually('more is claimed than sent', async () => house.asked.length === 12 && ((await attempts())['none'] ?? 0) > 4);
    house.h.clock.set(at('11T10:00'));
    shut.open();
    await pass;
    const sent = house.asked.length;
    expect(sent).toBe(12);
    await house.h.metering.submitDue();
    expect([house.asked.length, await house.states()]).toEqual([sent, { accepted: 12, expired: 8 }]);
    expect(await house.h.rows(`select distinct kind from findings`)).toEqual([{ kind: 'loss.expired' }]);
    await house.lawHolds();
  });
});
