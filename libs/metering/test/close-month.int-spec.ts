import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, GIB, Harness, STORED, wholeMonth, type Purchase, type WholeMonth } from '../src/testing/index.js';

const START = at('31T20:00');
let database: TestDatabase;
let h: Harness;
let a: Purchase;
let b: Purchase;
let test: Purchase;
let g: Purchase[];
beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START, undefined, {}, {}, ['gcp']);
  h.fixtures.withPrices = false;
  const plan = await h.fixtures.plan([STORED]);
  [a, b, test] = [await h.buy(plan, START), await h.buy(plan, START), await h.buy(plan, START)];
  const google = await h.fixtures.plan([STORED], 'gold', undefined, 'gcp');
  g = [await h.buy(google, START, 'gold', h.others[0]), await h.buy(google, START, 'gold', h.others[0])];
  await h.rows('update subscriptions set is_test = true where subscription_id = $1', [test.subscriptionId]);
  await h.rows(`update subscriptions set buyer_account_id = 'acct-7' where marketplace = 'gcp'`);
});
afterAll(async () => {
  await h.close();
  await database.drop();
});
const close = (requireFinal = false, marketplace?: 'azure' | 'gcp', purchasesAtOnce?: number): Promise<WholeMonth> =>
  wholeMonth(
    h.metering.closeMonth({
      month: '2026-03',
      requireFinal,
      ...(marketplace ? { marketplace } : {}),
      ...(purchasesAtOnce ? { purchasesAtOnce } : {}),
    }),
  );
const price = (marketplace: string, unitPrice: string, effectiveFrom: Date, currency: string): Promise<unknown> =>
  h.db.ops((tx) =>
    h.metering.recordPrice(tx, {
      marketplace,
      externalOfferId: 'object-cells',
      externalPlanId: 'gold',
      dimension: 'stored',
      subscriptionId: null,
      currency,
      unitPrice,
      effectiveFrom,
      source: 'a listing',
      recordedBy: 'ada',
    }),
  );
const payout = (marketplace: 'azure' | 'gcp', currency: string, rows: string): Promise<unknown> =>
  h.db.ops((tx) =>
    h.metering.importRemittances(tx, {
      marketplace,
      csv: `ref,who,month,gross,fee,net\n${rows}`,
      mapping: { reference: 'ref', purchase: 'who', month: 'month', gross: 'gross', fee: 'fee', net: 'net' },
      constants: { currency },
      decimal: 'point',
      dryRun: false,
      by: 'ada',
    }),
  );
const money = (m: WholeMonth): unknown[] =>
  m.money.map((r) => [
    r.marketplace,
    r.externalId,
    r.currency,
    r.expected,
    r.invoiced,
    r.variance.map((v) => `${v.name} ${v.amount ?? ''}`.trim()),
  ]);

describe('a month', () => {
  it('is provisional, with reasons, while hours or submissions are open; and refused where it must be final', async () => {
    h.clock.set(at('31T21:00'));
    const ids = [a, b, test, ...g].map((p) => p.placementId);
    await h.report(ids, START, at('31T21:00'), 3n * GIB);
    await h.metering.closeDueHours();
    const early = await close();
    expect([early.state, early.because]).toEqual([
      'provisional',
      ['the month is not over', '5 series have hours that are not closed', '5 submissions are pending'],
    ]);
    await expect(close(true)).rejects.toMatchObject({ code: 'month.open' });
    h.clock.set(new Date('2026-04-01T00:00:00Z'));
    await h.report(ids, at('31T21:05'), new Date('2026-04-01T00:00:00Z'), 3n * GIB);
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    expect((await close(true)).state).toBe('final');
  });

  it('says units and price_unknown where no price is known, never 0, and names test purchases', async () => {
    const m = await close();
    expect(m.units.map((u) => [u.accepted, u.recorded, u.difference, u.test]).sort()).toEqual([
      ['12', '12', 0n, false],
      ['12', '12', 0n, false],
      ['12', '12', 0n, false],
      ['12', '12', 0n, false],
      ['12', '12', 0n, true],
    ]);
    expect(m.units[0]!.samples).toBe('48');
    expect(m.money.every((r) => r.currency === null && r.expected === null)).toBe(true);
    expect(m.money.flatMap((r) => r.unpricedUnits.map((u) => u.units))).toEqual(['12', '12', '12', '12']);
    expect(m.money.flatMap((r) => r.subscriptionIds)).not.toContain(test.subscriptionId);
  });

  it('uses the price of each hour in its own currency, and matches at the grain of each marketplace', async () => {
    await price('azure', '0.10', at('01T00:00'), 'USD');
    await price('azure', '0.25', at('31T22:00'), 'USD');
    await price('gcp', '0.50', at('01T00:00'), 'EUR');
    const [x, y] = [a.externalSubscriptionId, b.externalSubscriptionId].sort();
    // 2 hours at 0.10 and 2 at 0.25, 3 GiB each.
    expect(money(await close())).toEqual([
      ['azure', x, 'USD', '2.1', '0', ['not_yet_visible -2.1']],
      ['azure', y, 'USD', '2.1', '0', ['not_yet_visible -2.1']],
      ['gcp', 'acct-7', 'EUR', '12', '0', ['not_yet_visible -12']],
    ]);
    await payout('azure', 'USD', `P1,${x},2026-03,2.1,0.06,2.04\nP1,${y},2026-03,5,0.15,4.85\nP1,stranger,2026-03,1,0,1\n`);
    await payout('gcp', 'EUR', 'D1,acct-7,2026-03,11.5,0.35,11.15\n');
    h.clock.set(new Date('2026-06-01T00:00:00Z'));
    const m = await close();
    expect(money(m)).toEqual([
      ['azure', x, 'USD', '2.1', '2.1', []],
      ['azure', y, 'USD', '2.1', '5', ['more_than_usage 2.9']],
      ['gcp', 'acct-7', 'EUR', '12', '11.5', ['less_than_usage -0.5']],
    ]);
    expect(m.money.map((r) => r.bySum)).toEqual([false, false, true]);
    expect(m.payouts.map((p) => [p.reference, p.currency, p.gross, p.of_month, p.unallocated, p.payout])).toEqual([
      ['P1', 'USD', '8.1', '7.1', '1', '7.89'],
      ['D1', 'EUR', '11.5', '11.5', '0', '11.15'],
    ]);
    expect((await close(false, 'gcp')).money).toHaveLength(1);
  });

  it('is the same however many purchases are read at once, an account of several too', async () => {
    const whole = await close();
    for (const n of [1, 2]) expect(await close(false, undefined, n)).toEqual(whole);
    expect(whole.units).toHaveLength(5);
    expect(whole.money.at(-1)!.subscriptionIds).toHaveLength(2);
  });

  it('names what was credited, and what never came', async () => {
    const credit = await h.db.ops(async (tx) => {
      const [r] = await tx.query<{ record_id: string }>(
        'select record_id from usage_records where subscription_id = $1 order by hour limit 1',
        [g[0]!.subscriptionId],
      );
      return h.metering.openCredit(tx, {
        tenantId: g[0]!.tenantId,
        subscriptionId: g[0]!.subscriptionId,
        findingId: null,
        recordId: r!.record_id,
        dimension: 'stored',
        hour: START,
        units: '1',
        reference: 'case 9',
        reason: 'a wrong import',
        by: 'ada',
      });
    });
    await h.db.ops((tx) =>
      h.metering.endCredit(tx, { creditId: credit.creditId, completed: true, reference: 'r', amount: '0.5', currency: 'EUR', by: 'ada' }),
    );
    expect(money(await close(false, 'gcp'))).toEqual([['gcp', 'acct-7', 'EUR', '12', '11.5', ['credited -0.5']]]);
    await h.rows(`update remittances set voided_at = now(), voided_by = 'x', void_reason = 'x' where reference = 'D1'`);
    expect(money(await close(false, 'gcp'))).toEqual([['gcp', 'acct-7', 'EUR', '12', '0', ['credited -0.5', 'missing_there -11.5']]]);
  });
});
