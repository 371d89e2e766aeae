import { describe, expect, it } from 'vitest';
import { eventually } from '#platform/testing';
import { MarketplaceBusy, MarketplaceRefusal, type UsageWireItem } from '#marketplaces/core';
import { settleByPerson } from '../src/application/settle-by-person.js';
import { callsFor } from '../src/application/send-batch.js';
import { at, GIB } from '../src/testing/index.js';
import { WaitingHouse, type Send } from './waiting-house.js';

const house = new WaitingHouse();
const hoursOf = (calls: UsageWireItem[][]): string[] =>
  calls.flat().map((i) => (JSON.parse(i.body) as { hour: string }).hour.slice(11, 13));
const breaker = async (): Promise<string> => (await house.h.rows<{ state: string }>('select state from marketplace_gates'))[0]!.state;
const finding = async (kind: string): Promise<{ finding_id: string; settled: boolean; deadline: Date }> =>
  (
    await house.h.rows<{ finding_id: string; settled: boolean; deadline: Date }>(
      'select finding_id, settlement is not null as settled, deadline from findings where kind = $1 order by raised_at desc limit 1',
      [kind],
    )
  )[0]!;
const settle = async (settlement: 'resubmit' | 'carry' | 'invoice_outside'): Promise<string> => {
  const { finding_id: findingId } = await finding('loss.quarantined');
  const by = { keyId: 'ada-1', name: 'Ada Winter' };
  return house.h.db.ops((tx) =>
    settleByPerson(tx, house.h['metering']['deps'], { findingId, settlement, reason: 'looked at', reference: 'INV-1', by }),
  );
};

describe('the rate of a marketplace', () => {
  it('is shared by all workers and counted in real time', async () => {
    await house.open(8, 1, { batchSize: 1, rate: { perSecond: 0.1, burst: 3 } });
    const workers = [house.h.another(), house.h.another()];
    await Promise.all(workers.map((w) => w.submitDue()));
    expect(house.asked).toHaveLength(3);
    house.h.clock.advance(3_600_000); // business time makes no tokens
    await Promise.all(workers.map((w) => w.submitDue()));
    expect(house.asked).toHaveLength(3);
    house.real.advance(20_000);
    await Promise.all(workers.map((w) => w.submitDue()));
    expect(house.asked).toHaveLength(5);
    expect(await house.states()).toEqual({ accepted: 5, pending: 3 });
  });
});

describe('the batches of one marketplace', () => {
  it('go one at a time until one is answered, then more side by side, each item once', async () => {
    await house.open(12, 1, { batchSize: 1 });
    let now = 0;
    const seen: number[] = [];
    house.answer = (send) => async (items) => {
      seen.push((now += 1));
      // Held back until as many have come as may: two after the first answer, four later.
      if (house.asked.length <= 3) await eventually('two are under way', () => house.asked.length === 1 || Math.max(...seen) >= 2);
      else await eventually('four are under way', () => Math.max(...seen) >= 4);
      const answers = await send(items);
      now -= 1;
      return answers;
    };
    await house.h.metering.submitDue();
    expect([seen[0], Math.max(...seen)]).toEqual([1, 4]);
    expect([await house.states(), house.asked.length]).toEqual([{ accepted: 12 }, 12]);
    await house.lawHolds();
  });

  it('go one at a time where none is answered', async () => {
    await house.open(6, 1, { batchSize: 1, rate: null });
    house.answer = () => () => Promise.reject(new MarketplaceBusy('later'));
    let now = 0;
    const busy = house.answer(undefined as never);
    house.answer = () => async (items) => {
      expect((now += 1)).toBe(1);
      await new Promise(setImmediate);
      return busy(items).finally(() => (now -= 1));
    };
    await house.h.metering.submitDue();
    expect([await breaker(), house.asked.length]).toEqual(['open', 3]);
  });

  it('as fast as an operator has set, also without a limit', async () => {
    await house.open(3, 1, { batchSize: 1, rate: { perSecond: 10, burst: 10 } });
    const { deps } = house.h['metering'] as unknown as { deps: { options: object } };
    Object.assign(deps.options, { usageRates: { azure: 0.2 } });
    await house.h.metering.submitDue();
    expect(house.asked).toHaveLength(1); // and the next only in five seconds
    Object.assign(deps.options, { usageRates: { azure: null } });
    await house.h.metering.submitDue();
    expect(house.asked).toHaveLength(3);
  });
});

describe('a breaker', () => {
  it('is one for all workers: it opens, lets one probe of the earliest deadline through, and closes with an answer', async () => {
    await house.open(1, 8, { batchSize: 1 });
    house.answer = () => () => Promise.reject(new MarketplaceBusy('503'));
    await house.h.metering.submitDue();
    expect([hoursOf(house.asked), await breaker()]).toEqual([['10', '11', '12'], 'open']);
    await house.h.another().submitDue();
    expect(house.asked).toHaveLength(3);
    await house.h.fixtures.emission('shadow', at('10T19:00'));
    expect(await house.h.db.ops((tx) => house.h.metering.marketplaceStatus(tx))).toMatchObject([
      {
        marketplace: 'azure',
        nextDeadline: at('11T10:00'),
        gates: [
          { gate: '', state: 'open', failures: 3, reason: '503', since: at('10T18:00'), pausedUntil: new Date(+house.real.now() + 5_000) },
        ],
        listings: [{ externalOfferId: 'object-cells', emission: 'live', next: { emission: 'shadow', from: at('10T19:00') } }],
      },
    ]);
    // The pause is over: one probe, though two workers come at once; its pause is twice as long.
    house.real.advance(5_000);
    await Promise.all([house.h.metering.submitDue(), house.h.another().submitDue()]);
    expect([hoursOf(house.asked).slice(3), await breaker()]).toEqual([['13'], 'open']);
    house.real.advance(9_999);
    await house.h.another().submitDue();
    expect(house.asked).toHaveLength(4);
    house.real.advance(1);
    house.answer = (send) => send;
    await house.h.another().submitDue();
    expect([hoursOf(house.asked).slice(4), await breaker()]).toEqual([['14', '15', '16', '17'], 'closed']);
    house.h.clock.advance(60_000);
    await house.h.metering.submitDue();
    expect(await house.states()).toEqual({ accepted: 8 });
    await house.lawHolds();
  });

  it('lets no hard deadline pass in silence: a probe is forced before it, and a person is told', async () => {
    await house.open(1, 4, { batchSize: 1 });
    house.answer = () => () => Promise.reject(new MarketplaceBusy('slow down', 3_600_000));
    house.h.clock.set(at('11T09:40')); // hour 10 may be sent until 10:00
    await house.h.metering.submitDue();
    expect([hoursOf(house.asked), await breaker()]).toEqual([['10', '11', '12'], 'open']);
    expect(await finding('marketplace_stuck')).toMatchObject({ settled: false, deadline: at('11T10:00') });
    house.h.clock.set(at('11T09:44'));
    await house.h.metering.submitDue();
    expect(house.asked).toHaveLength(3);
    // The pause they house.asked for would end at 10:40, and the item's own would too.
    house.h.clock.set(at('11T09:46'));
    house.answer = (send) => send;
    await house.h.metering.submitDue();
    expect(hoursOf(house.asked).slice(3)).toEqual(['10', '13']);
    expect([await breaker(), (await finding('marketplace_stuck')).settled]).toEqual(['closed', true]);
    expect(await house.h.rows(`select 1 from findings where kind like 'loss.%'`)).toEqual([]);
    await house.lawHolds();
  });
});

describe('a batch that is refused and names no item', () => {
  const refuses =
    (bad: string[]) =>
    (send: Send): Send =>
    (items) =>
      items.some((i) => bad.some((id) => i.body.includes(id)))
        ? Promise.reject(new MarketplaceRefusal('fake.bad_batch', 'one item is bad', 400))
        : send(items);

  it('is halved with the same bytes and few calls; the culprit waits for a person, who may send it again', async () => {
    const bought = await house.open(16, 1);
    const culprit = bought[7]!.externalSubscriptionId;
    const stored = new Set((await house.h.rows<{ wire: UsageWireItem }>('select wire from submission_items')).map((r) => r.wire.body));
    house.answer = refuses([culprit]);
    await house.h.metering.submitDue();
    expect(house.asked.length).toBeLessThanOrEqual(1 + 2 * Math.log2(16));
    expect(house.asked.flat().every((i) => stored.has(i.body))).toBe(true);
    expect(await house.states()).toEqual({ accepted: 15, held: 1 });
    expect((await finding('loss.quarantined')).deadline).toEqual(at('11T10:00'));
    await house.lawHolds();
    house.answer = (send) => send;
    expect(await settle('resubmit')).toBe('settled');
    await house.h.metering.submitDue();
    expect(await house.states()).toEqual({ accepted: 16 });
    expect(house.asked.at(-1)).toMatchObject([{ body: expect.stringContaining(culprit) }]);
    await house.lawHolds();
  });

  it('that nobody sends again is a named loss at its deadline, once', async () => {
    const bought = await house.open(3, 1);
    house.answer = refuses([bought[0]!.externalSubscriptionId]);
    await house.h.metering.submitDue();
    expect(await house.states()).toEqual({ accepted: 2, held: 1 });
    house.h.clock.set(at('11T10:00'));
    await house.h.metering.submitDue();
    expect(await house.states()).toEqual({ accepted: 2, expired: 1 });
    expect(await house.h.rows('select kind from findings')).toEqual([{ kind: 'loss.quarantined' }]);
    await house.lawHolds();
  });

  it('that a person carries on or invoices outside does not wait any longer, and the sums hold', async () => {
    const bought = await house.open(3, 1);
    house.answer = refuses([bought[0]!.externalSubscriptionId]);
    await house.h.metering.submitDue();
    expect(await settle('carry')).toBe('settled');
    expect(await house.states()).toEqual({ accepted: 2, expired: 1 });
    expect(await house.h.rows('select amount::text from carry_ins where consumed_by_hour is null')).toHaveLength(1);
    await house.lawHolds();
  });

  it('looks for few culprits at once, and finds all of them in the end', async () => {
    await house.open(16, 1);
    const heldAt: number[] = [];
    // Every other one of the batch as it is sent first, so that no half is ever clean.
    let bad: string[] | null = null;
    house.answer = (send) => async (items) => {
      bad ??= items.filter((_, i) => i % 2 === 0).map((i) => (JSON.parse(i.body) as { id: string }).id);
      heldAt.push((await house.states())['held'] ?? 0);
      return refuses(bad)(send)(items);
    };
    await house.h.metering.submitDue();
    // Verdicts come at the end of a bisection: it ended after its number of calls, and the rest was regrouped without the culprits.
    expect(heldAt.findIndex((n) => n > 0)).toBe(callsFor(16));
    house.h.clock.advance(60_000);
    await house.h.metering.submitDue();
    expect(await house.states()).toEqual({ accepted: 8, held: 8 });
    await house.lawHolds();
  });

  it('blames nobody where nothing at all is taken: the breaker opens, and all goes when it is mended', async () => {
    await house.open(6, 1);
    house.answer = () => () => Promise.reject(new MarketplaceRefusal('fake.bad_version', 'this version is not known', 400));
    for (let i = 0; i < 5; i++) {
      await house.h.metering.submitDue();
      house.h.clock.advance(600_000);
      house.real.advance(4_000);
    }
    expect([await house.states(), await breaker()]).toEqual([{ pending: 6 }, 'open']);
    expect(await house.h.rows('select 1 from findings')).toEqual([]);
    house.answer = (send) => send;
    await house.h.metering.submitDue();
    expect([await house.states(), await breaker()]).toEqual([{ accepted: 6 }, 'closed']);
    await house.lawHolds();
  });

  it('of one item is blamed on it once others have gone', async () => {
    const [p] = await house.open(1, 1);
    house.answer = refuses(['T10:00']);
    await house.h.metering.submitDue();
    house.h.clock.set(at('10T12:00'));
    await house.h.report([p!.placementId], at('10T11:05'), at('10T12:00'), 3n * GIB);
    await house.h.metering.closeDueHours();
    await house.h.metering.submitDue();
    expect(await house.states()).toEqual({ accepted: 1, held: 1 });
    expect((await finding('loss.quarantined')).settled).toBe(false);
    await house.lawHolds();
  });
});
