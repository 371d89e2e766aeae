import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { shardOf } from '../src/domain/merkle.js';
import { at, GIB, Harness, PROVISIONED, type Purchase } from '../src/testing/index.js';

const START = at('10T00:00');
const HOUR = 3_600_000;

describe('an hour far above the week before', () => {
  let database: TestDatabase;
  let h: Harness;
  let plan: string;
  let careful: string;
  beforeAll(async () => {
    database = await createTestDatabase();
    h = await Harness.open(database.url(), database.secret, START);
    // One shard, so that each hour of the week is one transaction.
    h.fixtures.newSubscriptionId = () => {
      for (;;) {
        const id = randomUUID();
        if (shardOf(id) === 7) return id;
      }
    };
    const huge = (1_000_000n * GIB).toString();
    plan = await h.fixtures.plan([PROVISIONED], 'gold', huge);
    careful = await h.fixtures.plan([{ ...PROVISIONED, implausibleTimes: 3 }], 'careful', huge);
  });
  afterAll(async () => {
    await h.close();
    await database.drop();
  });

  const holds = (p: Purchase, value: bigint, when: Date): Promise<void> =>
    h.db.ops((tx) =>
      h.metering.recordEngineSample(tx, {
        subscriptionId: p.subscriptionId,
        tenantId: p.tenantId,
        placementId: p.placementId,
        metric: 'provisioned_bytes',
        at: when,
        value,
      }),
    );
  const closeUpTo = async (hours: number): Promise<void> => {
    h.clock.set(new Date(START.getTime() + hours * HOUR));
    await h.metering.closeDueHours();
  };
  const held = async (p: Purchase): Promise<number[]> =>
    (
      await h.rows<{ hour: Date }>(
        `select hour from submission_items where subscription_id = $1 and state = 'held' and hold_reason = 'implausible' order by hour`,
        [p.subscriptionId],
      )
    ).map((r) => (r.hour.getTime() - START.getTime()) / HOUR);

  it('is held with a finding that names its deadline, until a person lets it go, from which on it is usual', async () => {
    const week = 168;
    const buy = async (id = plan, name = 'gold') => h.buy(id, START, name);
    const [grown, steady, test, strict, small] = [await buy(), await buy(), await buy(), await buy(careful, 'careful'), await buy()];
    const young = await h.buy(plan, at('12T00:00'));
    await h.rows('update subscriptions set is_test = true where subscription_id = $1', [test.subscriptionId]);
    for (const p of [grown, steady, test, strict]) await holds(p, 10n * GIB, START);
    await holds(small, GIB / 1_000n, START);
    h.clock.set(at('12T00:00'));
    await holds(young, 10n * GIB, at('12T00:00'));
    await closeUpTo(week);
    expect(await h.rows('select 1 from submission_items where state = $1', ['held'])).toEqual([]);

    const jump = new Date(START.getTime() + week * HOUR);
    for (const p of [grown, test, young]) await holds(p, 600n * GIB, jump);
    await holds(steady, 450n * GIB, jump);
    await holds(strict, 40n * GIB, jump);
    // Far above what it had, but no more than fifty units.
    await holds(small, 50n * GIB, jump);
    await closeUpTo(week + 2);
    expect(await held(grown)).toEqual([168, 169]);
    expect(await held(strict)).toEqual([168, 169]);
    for (const p of [steady, test, young, small]) expect(await held(p)).toEqual([]);
    const findings = await h.rows<{ subscription_id: string; hour: Date; deadline: Date; evidence: Record<string, string> }>(
      `select subscription_id, hour, deadline, evidence from findings where kind = 'held_implausible' and subscription_id = $1 order by hour`,
      [grown.subscriptionId],
    );
    const items = await h.rows<{ item_id: string; hard_at: Date }>(
      `select item_id, hard_at from submission_items where subscription_id = $1 and state = 'held' order by hour`,
      [grown.subscriptionId],
    );
    expect(findings.map((f) => f.deadline)).toEqual(items.map((i) => i.hard_at));
    // The figure of the week is kept rounded up by an eighth at most.
    const unit = GIB * 3_600_000_000n;
    const bound = BigInt(findings[0]!.evidence['bound']!);
    expect(bound >= 500n * unit && bound <= 563n * unit).toBe(true);
    expect(BigInt(findings[0]!.evidence['amount']!)).toBe(600n * unit);

    // Nobody has said that it is right: the next one is held too. Then a person lets one go.
    await h.db.ops((tx) => h.metering.releaseHeld(tx, items[0]!.item_id));
    await closeUpTo(week + 3);
    expect(await held(grown)).toEqual([169]);
    expect(await held(strict)).toEqual([168, 169, 170]);
    await h.metering.submitDue();
    expect(h.market.billed(grown.externalSubscriptionId).filter((b) => b.quantity === '600')).toHaveLength(2);
    // What was held and not let go teaches nothing; what was is the largest of its day.
    const largest = async (p: Purchase): Promise<bigint> =>
      Object.values(
        (
          await h.rows<{ usual: { days: Record<string, string> } }>('select usual from series where subscription_id = $1', [
            p.subscriptionId,
          ])
        )[0]!.usual.days,
      )
        .map(BigInt)
        .reduce((a, b) => (a > b ? a : b));
    expect((await largest(strict)) <= 12n * unit).toBe(true);
    expect((await largest(grown)) >= 600n * unit).toBe(true);
  }, 120_000);
});
