import { afterEach, describe, expect, it } from 'vitest';
import { MarketplaceRefusal } from '#marketplaces/core';
import type { TestDatabase } from '../../../test/support/database.js';
import { at, door, GIB, type Harness, type Purchase } from '../src/testing/index.js';
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

describe('outcomes of submission', () => {
  it('makes an unknown outcome a finding where a repeat is not safe, and never repeats it', async () => {
    const [p] = await closedHours(1, undefined, { safeResend: false });
    h.market.failNext('submitUsage', 'lost');
    await h.metering.submitDue();
    h.clock.advance(3_600_000);
    await h.metering.submitDue();
    expect(await attempts()).toEqual(['unknown']);
    expect(await kinds()).toEqual(['unknown_outcome']);
    expect(h.market.billed(p!.externalSubscriptionId)).toHaveLength(1);
    await lawHolds();
  });

  it('halves a refused batch until the culprit stands alone; the rest goes', async () => {
    let culprit = '';
    const purchases = await closedHours(
      9,
      door((send) => (items) => {
        if (items.some((i) => i.body.includes(culprit)))
          return Promise.reject(new MarketplaceRefusal('fake.bad_batch', 'one item is bad', 400));
        return send(items);
      }),
    );
    culprit = purchases[4]!.externalSubscriptionId;
    await h.metering.submitDue();
    expect(await states()).toEqual({ accepted: 8, held: 1 });
    expect(await kinds()).toEqual(['loss.quarantined']);
    expect(h.market.billed()).toHaveLength(8);
    await lawHolds();
  });

  it('blames no item when it is we who are refused', async () => {
    let refuse = true;
    await closedHours(
      3,
      door((send) => (items) => (refuse ? Promise.reject(new MarketplaceRefusal('forbidden', 'the key is wrong', 403)) : send(items))),
    );
    await h.metering.submitDue();
    expect(await states()).toEqual({ pending: 3 });
    expect(await h.rows('select kind, evidence from findings')).toMatchObject([
      { kind: 'secret_expiring', evidence: { what: 'the marketplace refuses our credentials' } },
    ]);
    refuse = false;
    h.clock.advance(600_000);
    await h.metering.submitDue();
    expect(await states()).toEqual({ accepted: 3 });
    await lawHolds();
  });

  it('books a conflict with both numbers, over or under', async () => {
    const [over, under] = await closedHours(2);
    for (const [p, quantity] of [
      [over!, '5'],
      [under!, '1'],
    ] as const) {
      await h.market.submitUsage([
        h.market.buildUsageItem({
          itemId: p.subscriptionId,
          externalSubscriptionId: p.externalSubscriptionId,
          externalPlanId: 'gold',
          dimension: 'stored',
          hourStart: START,
          startsAt: START,
          endsAt: at('10T11:00'),
          quantity,
          refs: {},
        }),
      ]);
    }
    await h.metering.submitDue();
    expect(await states()).toEqual({ conflict: 2 });
    expect(await kinds()).toEqual(['duplicate_conflict', 'over_reported']);
    const unit = GIB * 3_600_000_000n;
    const sums = async (p: Purchase): Promise<Record<string, string>> =>
      Object.fromEntries(
        (
          await h.rows<{ term: string; q: string }>(
            `select term, (sum(quantity) / $2::numeric)::numeric(20,0)::text as q from ledger_entries where subscription_id = $1 group by term having sum(quantity) <> 0`,
            [p.subscriptionId, unit.toString()],
          )
        ).map((r) => [r.term, r.q]),
      );
    expect(await sums(over!)).toEqual({ measured: '3', accepted: '5', over_reported: '2' });
    expect(await sums(under!)).toEqual({ measured: '3', accepted: '1', deferred: '2' });
    await lawHolds();
    // What they lack goes into the next hour.
    h.clock.set(at('10T12:00'));
    await h.report([over!.placementId, under!.placementId], at('10T11:05'), at('10T12:00'), 3n * GIB);
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    expect(h.market.billed(under!.externalSubscriptionId).map((b) => b.quantity)).toEqual(['1', '5']);
    await lawHolds();
  });

  it('books a conflict whose number is written with an exponent', async () => {
    await closedHours(
      1,
      door(
        () => (items) =>
          Promise.resolve(
            items.map(({ itemId }) => ({ itemId, outcome: 'duplicate_conflict' as const, receipt: 'r', acceptedQuantity: '0.5e1' })),
          ),
      ),
    );
    await h.metering.submitDue();
    expect(await states()).toEqual({ conflict: 1 });
    expect(
      await h.rows(`select (sum(quantity) / $1::numeric)::int as over from ledger_entries where term = 'over_reported'`, [
        (GIB * 3_600_000_000n).toString(),
      ]),
    ).toEqual([{ over: 2 }]);
    await lawHolds();
  });

  it('waits while the purchase is not active and names the loss when the window closes', async () => {
    const [p] = await closedHours(1);
    h.market.patch(p!.externalSubscriptionId, { state: 'suspended' });
    await h.metering.submitDue();
    expect(await states()).toEqual({ deferred: 1 });
    h.clock.set(at('11T10:00'));
    await h.metering.submitDue();
    expect(await states()).toEqual({ expired: 1 });
    expect(await kinds()).toEqual(['loss.suspended_unbillable']);
    await lawHolds();
  });
});
