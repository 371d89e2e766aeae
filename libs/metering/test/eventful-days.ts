import type { MarketplaceAdapter, UsageItemOutcome, UsageWireItem } from '#marketplaces/core';
import type { FakeMarketplace } from '#marketplaces/core/testing';
import {
  at,
  door,
  EGRESS,
  GIB,
  MIB,
  PROVISIONED,
  sampleEvent,
  STORED,
  watermarkEvent,
  type Harness,
  type Purchase,
} from '../src/testing/index.js';

export const START = at('10T20:00');
/** Whole units would leave no rest. */
const ODD = 3n * GIB + 12_345n;
const HOUR_MS = 3_600_000;

/** Takes less than was sent of one hour, refuses another, and is itself for the rest. */
export const contrary: (m: FakeMarketplace) => MarketplaceAdapter = door(
  (send) =>
    async (items: UsageWireItem[]): Promise<UsageItemOutcome[]> => {
      const of = (hour: string): UsageWireItem[] => items.filter((i) => i.body.includes(`2026-03-${hour}`) && i.body.includes('"egress"'));
      const [less, none] = [of('10T21'), of('10T22')];
      const rest = await send(items.filter((i) => !less.includes(i) && !none.includes(i)));
      return [
        ...rest,
        ...less.map((i) => ({
          itemId: i.itemId,
          outcome: 'duplicate_conflict' as const,
          acceptedQuantity: '1',
          receipt: 'r-less',
          detail: 'they hold less',
        })),
        ...none.map((i) => ({ itemId: i.itemId, outcome: 'rejected' as const, code: 'bad_argument', detail: 'no' })),
      ];
    },
);

/** The n-th hour, and minutes after it. */
const t = (n: number, minutes = 0): Date => new Date(START.getTime() + n * HOUR_MS + minutes * 60_000);
const step = async (h: Harness): Promise<void> => {
  await h.metering.closeDueHours();
  await h.metering.submitDue();
};
/** These hours pass: the placements report, hours are closed, what is due is sent. */
async function hours(h: Harness, ns: number[], placements: string[], perStep: bigint): Promise<void> {
  for (const n of ns) {
    h.clock.set(t(n + 1));
    await h.report(placements, t(n), t(n + 1), ODD, perStep, START);
    await step(h);
  }
}
const gauges = (h: Harness, p: Purchase, from: Date, to: Date, value: bigint): Promise<unknown> => {
  const events: unknown[] = [];
  for (let at = from.getTime(); at <= to.getTime(); at += 300_000) events.push(sampleEvent(h.source, p.placementId, new Date(at), value));
  return h.metering.ingest(h.cell, events);
};

/** From one evening to the next afternoon, with all that makes the order matter. Names and the like are there to be looked for. */
export async function liveEventfully(h: Harness): Promise<void> {
  const gold = await h.fixtures.plan([{ ...STORED, included: { quantity: '5', period: 'month' } }, EGRESS, PROVISIONED]);
  const silver = await h.fixtures.plan([STORED, { ...EGRESS, basePerUnit: (4n * MIB).toString() }], 'silver');
  const steady = await h.buy(gold, START);
  const changing = await h.buy(gold, START);
  const ending = await h.buy(gold, START);
  const all = [steady, changing, ending].map((p) => p.placementId);
  await h.db.ops(async (tx) => {
    await h.metering.recordEngineSample(tx, { ...steady, metric: 'provisioned_bytes', at: START, value: 10n * GIB });
    await tx.query(`update tenants set display_name = 'Winter Archives'`);
    await tx.query(
      `update subscriptions set name = 'for ada.winter@buyer.example', buyer_account_id = 'acct-of-ada', truth = '{"email":"ada@buyer.example"}'`,
    );
    await h.metering.recordPrice(tx, {
      marketplace: 'azure',
      externalOfferId: 'object-cells',
      externalPlanId: 'gold',
      dimension: 'stored',
      subscriptionId: null,
      currency: 'USD',
      unitPrice: '0.25',
      effectiveFrom: START,
      source: 'agreed with Brigid Holm',
      recordedBy: 'holm-1',
    });
  });
  await hours(h, [0, 1, 2, 3], all, MIB + 7n);

  // A person carries what was refused.
  const [lost] = await h.rows<{ finding_id: string }>(
    `select finding_id from findings where kind = 'loss.quarantined' and subscription_id = $1`,
    [steady.subscriptionId],
  );
  const by = { keyId: 'ada-1', name: 'Ada Winter' };
  await h.db.ops((tx) =>
    h.metering.settleByPerson(tx, { findingId: lost!.finding_id, settlement: 'carry', reason: 'Ada Winter asked for it', by }),
  );

  // A change of plan in the middle of an hour, told two hours later.
  await hours(h, [4, 5], all, MIB + 7n);
  await h.fixtures.cut(changing, t(4, 20), { planVersionId: silver, externalPlanId: 'silver' });

  // A hole, closed at the hold limit; its samples come late, in two parts with a correction between them.
  h.clock.set(t(6, 30));
  await h.report([steady.placementId, changing.placementId], t(6, 5), t(6, 30), ODD, MIB, START);
  h.clock.set(t(13));
  await step(h);
  await gauges(h, steady, t(6, 35), t(6, 55), ODD + 5n);
  h.clock.set(t(13, 5));
  await h.metering.closeDueHours();
  await gauges(h, steady, t(7), t(10, 55), ODD + 9n);

  // The counter starts again from 0, and what names it is free text.
  const again: unknown[] = [];
  for (let n = 0; n <= 36; n += 1)
    for (const p of all) {
      again.push(sampleEvent(h.source, p, t(11, 5 * n), ODD, { id: `upload by ada@buyer.example ${p} ${n}` }));
      again.push(sampleEvent(h.source, p, t(11, 5 * n), MIB * BigInt(n), { kind: 'counter', epoch: "Ada Winter's laptop" }));
    }
  h.clock.set(t(14));
  await h.metering.ingest(h.cell, [...again, watermarkEvent(h.source, t(14))]);
  await step(h);

  // An end that is told more than an hour too late.
  await h.fixtures.end(ending, t(13, 20));
  await h.db.ops((tx) => h.metering.unbindPlacement(tx, { placementId: ending.placementId, until: t(13, 20) }));
  h.clock.set(t(14, 30));
  await step(h);
  await hours(h, [14, 15, 16], all.slice(0, 2), 3n * MIB);

  // A renewal takes over in the middle of an hour that is closed: the placement, and the samples since, are the successor's.
  const { externalSubscriptionId } = h.market.purchase({ state: 'active', externalPlanId: 'silver' });
  const over = t(15, 20);
  const next = await h.fixtures.purchase({ planVersionId: silver, externalPlanId: 'silver', startsAt: over, externalSubscriptionId });
  await h.fixtures.end(changing, over);
  await h.db.ops(async (tx) => {
    await h.metering.holdForSuccessor(tx, { placementId: changing.placementId, subscriptionId: changing.subscriptionId, from: over });
    await h.metering.transferPlacement(tx, { placementId: changing.placementId, toSubscriptionId: next.subscriptionId, at: over });
  });
  await hours(h, [17], all.slice(0, 2), 3n * MIB);
}
