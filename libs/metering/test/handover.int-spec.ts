import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, EGRESS, GIB, Harness, MIB, STORED, type Purchase } from '../src/testing/index.js';

let database: TestDatabase;
let h: Harness;
let plan: string;
const START = at('10T10:00');
/** Neither on a sample nor on an hour. */
const T = at('10T12:22');

beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START);
  plan = await h.fixtures.plan([STORED, EGRESS]);
});
afterAll(async () => {
  await h.close();
  await database.drop();
});

/** The renewal's purchase as entitlements would make it: of the same tenant, counting from `from` on. */
async function successorOf(old: Purchase, from: Date): Promise<Purchase> {
  const { externalSubscriptionId } = h.market.purchase({ state: 'active', externalPlanId: 'gold' });
  const next = await h.fixtures.purchase({ planVersionId: plan, startsAt: from, externalSubscriptionId });
  await h.db.ops(async (tx) => {
    for (const table of ['subscriptions', 'segments'])
      await tx.query(`update ${table} set tenant_id = $2 where subscription_id = $1`, [next.subscriptionId, old.tenantId]);
  });
  return { ...next, tenantId: old.tenantId, placementId: old.placementId };
}
const move = (old: Purchase, next: Purchase, when: Date): Promise<void> =>
  h.db.ops((tx) => h.metering.transferPlacement(tx, { placementId: old.placementId, toSubscriptionId: next.subscriptionId, at: when }));
const used = async (p: Purchase): Promise<Record<string, bigint>> =>
  Object.fromEntries(
    (
      await h.rows<{ meter: string; q: string }>(
        `select meter, sum(quantity)::text as q from ledger_entries where subscription_id = $1 and term in ('measured', 'estimated', 'adjustment') group by meter`,
        [p.subscriptionId],
      )
    ).map((r) => [r.meter, BigInt(r.q)]),
  );
const lost = (p: Purchase): Promise<unknown[]> =>
  h.rows(`select * from ledger_entries where subscription_id = $1 and term in ('loss', 'over_reported') and cause <> 'residue'`, [
    p.subscriptionId,
  ]);
async function expectSumLaw(...purchases: Purchase[]): Promise<void> {
  const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx, { subscriptionIds: purchases.map((p) => p.subscriptionId) }));
  expect(law.series.map((s) => s.missing)).toEqual(law.series.map(() => []));
  expect(law.ok).toBe(true);
}
const HOUR = 3_600_000_000n;
/** 3 GiB from START to 14:00, 2 MiB every five minutes; the delta of the sample at 14:00 is the next hour's. */
const WHOLE = { stored: 3n * GIB * 4n * HOUR, egress: 2n * MIB * 47n };

describe('a placement that goes to a renewal', () => {
  /** The samples up to `told` are in before the hand-over is made, the others after it. */
  async function play(told: Date): Promise<{ old: Purchase; next: Purchase }> {
    h.clock.set(START);
    const old = await h.buy(plan, START);
    h.clock.set(told);
    await h.report([old.placementId], START, told, 3n * GIB, 2n * MIB);
    await h.metering.closeDueHours();
    const next = await successorOf(old, T);
    await h.fixtures.end(old, T);
    await move(old, next, T);
    h.clock.set(at('10T14:00'));
    await h.report([old.placementId], new Date(told.getTime() + 300_000), at('10T14:00'), 3n * GIB, 2n * MIB, START);
    for (let i = 0; i < 3; i += 1) {
      await h.metering.closeDueHours();
      await h.metering.submitDue();
    }
    return { old, next };
  }

  it('is used by exactly one of the two at any time: the gauge to the microsecond, the counter up to the last sample before', async () => {
    const { old, next } = await play(at('10T12:20'));
    const [a, b] = [await used(old), await used(next)];
    expect(a['gib_hours_stored']).toBe((3n * GIB * 142n * HOUR) / 60n);
    expect(a['gib_hours_stored']! + b['gib_hours_stored']!).toBe(WHOLE.stored);
    // 12:20 is the last sample before the cut; the delta across it is the renewal's.
    expect(a['mib_egress']).toBe(2n * MIB * 28n);
    expect(a['mib_egress']! + b['mib_egress']!).toBe(WHOLE.egress);
    await expectSumLaw(old, next);
  });

  it('also where the hand-over is told half an hour late: samples since the cut go along', async () => {
    const { old, next } = await play(at('10T12:50'));
    const [a, b] = [await used(old), await used(next)];
    expect(a['gib_hours_stored']! + b['gib_hours_stored']!).toBe(WHOLE.stored);
    expect([a['mib_egress'], b['mib_egress']]).toEqual([2n * MIB * 28n, WHOLE.egress - 2n * MIB * 28n]);
    expect([await lost(old), await lost(next)]).toEqual([[], []]);
    await expectSumLaw(old, next);
  });

  it('bills both licences in the hour of the cut, and settles the old one in its window', async () => {
    const { old, next } = await play(at('10T12:25'));
    const hours = (p: Purchase): string[] =>
      h.market
        .billed(p.externalSubscriptionId)
        .filter((x) => x.dimension === 'egress')
        .map((x) => new Date(x.hour).toISOString().slice(11, 13))
        .sort();
    expect([hours(old), hours(next)]).toEqual([
      ['10', '11', '12'],
      ['12', '13'],
    ]);
    expect(
      await h.rows('select 1 from tasks where handler = $1 and lane = $2', ['test.settled', `subscription:${old.subscriptionId}`]),
    ).toHaveLength(1);
  });

  it('answers up to where hours are closed, and hands nothing over that is not bound', async () => {
    const { old, next } = await play(at('10T12:20'));
    const closed = await h.db.ops((tx) => h.metering.holdClosing(tx, [old.subscriptionId, next.subscriptionId]));
    expect(closed.get(next.subscriptionId)).toEqual(at('10T14:00'));
    await move(old, next, at('10T13:30'));
    expect(await h.rows('select 1 from usage_bindings where placement_id = $1', [old.placementId])).toHaveLength(2);
  });
});

describe('a purchase that ended and may have a successor', () => {
  async function held(): Promise<Purchase> {
    h.clock.set(START);
    const old = await h.buy(plan, START);
    h.clock.set(at('10T12:20'));
    await h.report([old.placementId], START, at('10T12:20'), 3n * GIB, 2n * MIB);
    await h.fixtures.end(old, T);
    await h.db.ops((tx) => h.metering.holdForSuccessor(tx, { placementId: old.placementId, subscriptionId: old.subscriptionId, from: T }));
    h.clock.set(at('10T12:55'));
    await h.report([old.placementId], at('10T12:25'), at('10T12:55'), 3n * GIB, 2n * MIB, START);
    await h.metering.closeDueHours();
    return old;
  }

  it('goes on to be sampled, and what was sampled since is the successor’s when it comes', async () => {
    const old = await held();
    const next = await successorOf(old, T);
    await move(old, next, T);
    h.clock.set(at('10T14:00'));
    await h.report([old.placementId], at('10T13:00'), at('10T14:00'), 3n * GIB, 2n * MIB, START);
    await h.metering.closeDueHours();
    await h.metering.closeDueHours();
    const [a, b] = [await used(old), await used(next)];
    expect(a['gib_hours_stored']! + b['gib_hours_stored']!).toBe(WHOLE.stored);
    expect(a['mib_egress']! + b['mib_egress']!).toBe(WHOLE.egress);
    expect([await lost(old), await lost(next)]).toEqual([[], []]);
    await expectSumLaw(old, next);
  });

  it('gets its last delta back, as a named loss, when none comes', async () => {
    const old = await held();
    expect((await used(old))['mib_egress']).toBe(2n * MIB * 28n);
    await h.db.ops((tx) => h.metering.releaseFromHold(tx, { placementId: old.placementId, subscriptionId: old.subscriptionId }));
    await h.metering.closeDueHours();
    // 12:20 to 12:22 of the delta up to 12:25; what came after the end is nobody's.
    const [loss] = await h.rows<{ q: string }>(
      `select sum(quantity)::text as q from ledger_entries where subscription_id = $1 and term = 'loss' and cause = 'missed_window'`,
      [old.subscriptionId],
    );
    expect(BigInt(loss!.q)).toBe((2n * MIB * 2n) / 5n);
    await expectSumLaw(old);
  });
});
