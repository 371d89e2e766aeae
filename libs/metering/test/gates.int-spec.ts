import { afterEach, describe, expect, it } from 'vitest';
import { eventually, ManualClock } from '#platform/testing';
import {
  MarketplaceBusy,
  MarketplaceRefusal,
  type MarketplaceAdapter,
  type UsageItemOutcome,
  type UsageWireItem,
} from '#marketplaces/core';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { settleByPerson } from '../src/application/settle-by-person.js';
import { callsFor } from '../src/application/send-batch.js';
import { at, door, GIB, Harness, STORED, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');
type Send = (items: UsageWireItem[]) => Promise<UsageItemOutcome[]>;

let database: TestDatabase | undefined;
let h: Harness;
let real: ManualClock;
/** What the marketplace was asked: the hours and purchases of each call, in order. */
let asked: UsageWireItem[][];
let answer: (send: Send) => Send;

afterEach(async () => {
  await h.close();
  await database?.drop();
});

/** `purchases` with `hours` closed hours each, nothing sent yet; the marketplace answers as `answer` says. */
async function waiting(purchases: number, hours: number, usage: Partial<MarketplaceAdapter['usage']> = {}): Promise<Purchase[]> {
  asked = [];
  answer = (send) => send;
  real = new ManualClock(new Date('2026-01-01T00:00:00Z'));
  database = await createTestDatabase();
  h = await Harness.open(
    database.url(),
    database.secret,
    START,
    door((send) => (items) => {
      asked.push(items);
      return answer(send)(items);
    }),
    usage,
    { realNow: () => real.now() },
  );
  const plan = await h.fixtures.plan([STORED]);
  const bought: Purchase[] = [];
  for (let i = 0; i < purchases; i++) bought.push(await h.buy(plan, START));
  const end = new Date(START.getTime() + hours * 3_600_000);
  h.clock.set(end);
  await h.report(
    bought.map((p) => p.placementId),
    START,
    end,
    3n * GIB,
  );
  await h.metering.closeDueHours();
  return bought;
}
const hoursOf = (calls: UsageWireItem[][]): string[] =>
  calls.flat().map((i) => (JSON.parse(i.body) as { hour: string }).hour.slice(11, 13));
const states = async (): Promise<Record<string, number>> =>
  Object.fromEntries(
    (await h.rows<{ state: string; n: number }>('select state, count(*)::int as n from submission_items group by state')).map((r) => [
      r.state,
      r.n,
    ]),
  );
const breaker = async (): Promise<string> => (await h.rows<{ state: string }>('select state from marketplace_gates'))[0]!.state;
const lawHolds = async (): Promise<void> => {
  const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
  expect(law.series.flatMap((s) => s.missing)).toEqual([]);
  expect(law.ok).toBe(true);
};
const finding = async (kind: string): Promise<{ finding_id: string; settled: boolean; deadline: Date }> =>
  (
    await h.rows<{ finding_id: string; settled: boolean; deadline: Date }>(
      'select finding_id, settlement is not null as settled, deadline from findings where kind = $1 order by raised_at desc limit 1',
      [kind],
    )
  )[0]!;
const settle = async (settlement: 'resubmit' | 'carry' | 'invoice_outside'): Promise<string> => {
  const { finding_id: findingId } = await finding('loss.quarantined');
  const by = { keyId: 'ada-1', name: 'Ada Winter' };
  return h.db.ops((tx) =>
    settleByPerson(tx, h['metering']['deps'], { findingId, settlement, reason: 'looked at', reference: 'INV-1', by }),
  );
};

describe('the rate of a marketplace', () => {
  it('is shared by all workers and counted in real time', async () => {
    await waiting(8, 1, { batchSize: 1, rate: { perSecond: 0.1, burst: 3 } });
    const workers = [h.another(), h.another()];
    await Promise.all(workers.map((w) => w.submitDue()));
    expect(asked).toHaveLength(3);
    h.clock.advance(3_600_000); // business time makes no tokens
    await Promise.all(workers.map((w) => w.submitDue()));
    expect(asked).toHaveLength(3);
    real.advance(20_000);
    await Promise.all(workers.map((w) => w.submitDue()));
    expect(asked).toHaveLength(5);
    expect(await states()).toEqual({ accepted: 5, pending: 3 });
  });
});

describe('the batches of one marketplace', () => {
  it('go one at a time until one is answered, then more side by side, each item once', async () => {
    await waiting(12, 1, { batchSize: 1 });
    let now = 0;
    const seen: number[] = [];
    answer = (send) => async (items) => {
      seen.push((now += 1));
      // Held back until as many have come as may: two after the first answer, four later.
      if (asked.length <= 3) await eventually('two are under way', () => asked.length === 1 || Math.max(...seen) >= 2);
      else await eventually('four are under way', () => Math.max(...seen) >= 4);
      const answers = await send(items);
      now -= 1;
      return answers;
    };
    await h.metering.submitDue();
    expect([seen[0], Math.max(...seen)]).toEqual([1, 4]);
    expect([await states(), asked.length]).toEqual([{ accepted: 12 }, 12]);
    await lawHolds();
  });

  it('go one at a time where none is answered', async () => {
    await waiting(6, 1, { batchSize: 1, rate: null });
    answer = () => () => Promise.reject(new MarketplaceBusy('later'));
    let now = 0;
    const busy = answer(undefined as never);
    answer = () => async (items) => {
      expect((now += 1)).toBe(1);
      await new Promise(setImmediate);
      return busy(items).finally(() => (now -= 1));
    };
    await h.metering.submitDue();
    expect([await breaker(), asked.length]).toEqual(['open', 3]);
  });

  it('as fast as an operator has set, also without a limit', async () => {
    await waiting(3, 1, { batchSize: 1, rate: { perSecond: 10, burst: 10 } });
    const { deps } = h['metering'] as unknown as { deps: { options: object } };
    Object.assign(deps.options, { usageRates: { azure: 0.2 } });
    await h.metering.submitDue();
    expect(asked).toHaveLength(1); // and the next only in five seconds
    Object.assign(deps.options, { usageRates: { azure: null } });
    await h.metering.submitDue();
    expect(asked).toHaveLength(3);
  });
});

describe('a breaker', () => {
  it('is one for all workers: it opens, lets one probe of the earliest deadline through, and closes with an answer', async () => {
    await waiting(1, 8, { batchSize: 1 });
    answer = () => () => Promise.reject(new MarketplaceBusy('503'));
    await h.metering.submitDue();
    expect([hoursOf(asked), await breaker()]).toEqual([['10', '11', '12'], 'open']);
    await h.another().submitDue();
    expect(asked).toHaveLength(3);
    await h.fixtures.emission('shadow', at('10T19:00'));
    expect(await h.db.ops((tx) => h.metering.marketplaceStatus(tx))).toMatchObject([
      {
        marketplace: 'azure',
        nextDeadline: at('11T10:00'),
        gates: [{ gate: '', state: 'open', failures: 3, reason: '503', since: at('10T18:00'), pausedUntil: new Date(+real.now() + 5_000) }],
        listings: [{ externalOfferId: 'object-cells', emission: 'live', next: { emission: 'shadow', from: at('10T19:00') } }],
      },
    ]);
    // The pause is over: one probe, though two workers come at once; its pause is twice as long.
    real.advance(5_000);
    await Promise.all([h.metering.submitDue(), h.another().submitDue()]);
    expect([hoursOf(asked).slice(3), await breaker()]).toEqual([['13'], 'open']);
    real.advance(9_999);
    await h.another().submitDue();
    expect(asked).toHaveLength(4);
    real.advance(1);
    answer = (send) => send;
    await h.another().submitDue();
    expect([hoursOf(asked).slice(4), await breaker()]).toEqual([['14', '15', '16', '17'], 'closed']);
    h.clock.advance(60_000);
    await h.metering.submitDue();
    expect(await states()).toEqual({ accepted: 8 });
    await lawHolds();
  });

  it('lets no hard deadline pass in silence: a probe is forced before it, and a person is told', async () => {
    await waiting(1, 4, { batchSize: 1 });
    answer = () => () => Promise.reject(new MarketplaceBusy('slow down', 3_600_000));
    h.clock.set(at('11T09:40')); // hour 10 may be sent until 10:00
    await h.metering.submitDue();
    expect([hoursOf(asked), await breaker()]).toEqual([['10', '11', '12'], 'open']);
    expect(await finding('marketplace_stuck')).toMatchObject({ settled: false, deadline: at('11T10:00') });
    h.clock.set(at('11T09:44'));
    await h.metering.submitDue();
    expect(asked).toHaveLength(3);
    // The pause they asked for would end at 10:40, and the item's own would too.
    h.clock.set(at('11T09:46'));
    answer = (send) => send;
    await h.metering.submitDue();
    expect(hoursOf(asked).slice(3)).toEqual(['10', '13']);
    expect([await breaker(), (await finding('marketplace_stuck')).settled]).toEqual(['closed', true]);
    expect(await h.rows(`select 1 from findings where kind like 'loss.%'`)).toEqual([]);
    await lawHolds();
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
    const bought = await waiting(16, 1);
    const culprit = bought[7]!.externalSubscriptionId;
    const stored = new Set((await h.rows<{ wire: UsageWireItem }>('select wire from submission_items')).map((r) => r.wire.body));
    answer = refuses([culprit]);
    await h.metering.submitDue();
    expect(asked.length).toBeLessThanOrEqual(1 + 2 * Math.log2(16));
    expect(asked.flat().every((i) => stored.has(i.body))).toBe(true);
    expect(await states()).toEqual({ accepted: 15, held: 1 });
    expect((await finding('loss.quarantined')).deadline).toEqual(at('11T10:00'));
    await lawHolds();
    answer = (send) => send;
    expect(await settle('resubmit')).toBe('settled');
    await h.metering.submitDue();
    expect(await states()).toEqual({ accepted: 16 });
    expect(asked.at(-1)).toMatchObject([{ body: expect.stringContaining(culprit) }]);
    await lawHolds();
  });

  it('that nobody sends again is a named loss at its deadline, once', async () => {
    const bought = await waiting(3, 1);
    answer = refuses([bought[0]!.externalSubscriptionId]);
    await h.metering.submitDue();
    expect(await states()).toEqual({ accepted: 2, held: 1 });
    h.clock.set(at('11T10:00'));
    await h.metering.submitDue();
    expect(await states()).toEqual({ accepted: 2, expired: 1 });
    expect(await h.rows('select kind from findings')).toEqual([{ kind: 'loss.quarantined' }]);
    await lawHolds();
  });

  it('that a person carries on or invoices outside does not wait any longer, and the sums hold', async () => {
    const bought = await waiting(3, 1);
    answer = refuses([bought[0]!.externalSubscriptionId]);
    await h.metering.submitDue();
    expect(await settle('carry')).toBe('settled');
    expect(await states()).toEqual({ accepted: 2, expired: 1 });
    expect(await h.rows('select amount::text from carry_ins where consumed_by_hour is null')).toHaveLength(1);
    await lawHolds();
  });

  it('looks for few culprits at once, and finds all of them in the end', async () => {
    await waiting(16, 1);
    const heldAt: number[] = [];
    // Every other one of the batch as it is sent first, so that no half is ever clean.
    let bad: string[] | null = null;
    answer = (send) => async (items) => {
      bad ??= items.filter((_, i) => i % 2 === 0).map((i) => (JSON.parse(i.body) as { id: string }).id);
      heldAt.push((await states())['held'] ?? 0);
      return refuses(bad)(send)(items);
    };
    await h.metering.submitDue();
    // Verdicts come at the end of a bisection: it ended after its number of calls, and the rest was regrouped without the culprits.
    expect(heldAt.findIndex((n) => n > 0)).toBe(callsFor(16));
    h.clock.advance(60_000);
    await h.metering.submitDue();
    expect(await states()).toEqual({ accepted: 8, held: 8 });
    await lawHolds();
  });

  it('blames nobody where nothing at all is taken: the breaker opens, and all goes when it is mended', async () => {
    await waiting(6, 1);
    answer = () => () => Promise.reject(new MarketplaceRefusal('fake.bad_version', 'this version is not known', 400));
    for (let i = 0; i < 5; i++) {
      await h.metering.submitDue();
      h.clock.advance(600_000);
      real.advance(4_000);
    }
    expect([await states(), await breaker()]).toEqual([{ pending: 6 }, 'open']);
    expect(await h.rows('select 1 from findings')).toEqual([]);
    answer = (send) => send;
    await h.metering.submitDue();
    expect([await states(), await breaker()]).toEqual([{ accepted: 6 }, 'closed']);
    await lawHolds();
  });

  it('of one item is blamed on it once others have gone', async () => {
    const [p] = await waiting(1, 1);
    answer = refuses(['T10:00']);
    await h.metering.submitDue();
    h.clock.set(at('10T12:00'));
    await h.report([p!.placementId], at('10T11:05'), at('10T12:00'), 3n * GIB);
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    expect(await states()).toEqual({ accepted: 1, held: 1 });
    expect((await finding('loss.quarantined')).settled).toBe(false);
    await lawHolds();
  });
});
