import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { sumDecimals } from '#platform';
import type { MarketplaceAdapter, SubscriptionTruth, UsageItemOutcome, UsageWireItem } from '../index.js';
import type { MarketplaceHarness, TestPurchase } from './harness.js';

const HOUR = 3_600_000;

/** What the tests of the suite do again and again with the adapter under test. */
export class ConformanceBench {
  /** Set before the first test. */
  h!: MarketplaceHarness;

  get adapter(): MarketplaceAdapter {
    return this.h.adapter;
  }

  readonly truthOf = async (purchase: TestPurchase): Promise<SubscriptionTruth> => {
    const truth = await this.adapter.readTruth(purchase.externalSubscriptionId, purchase.refs);
    if (!truth) throw new Error('the purchase cannot be read');
    return truth;
  };
  readonly active = async (): Promise<TestPurchase> => {
    const purchase = await this.h.purchase();
    await this.adapter.acknowledge(await this.truthOf(purchase), { tenantId: randomUUID() });
    return { ...purchase, refs: (await this.truthOf(purchase)).refs };
  };
  readonly quantity = (n: number): string => (this.adapter.usage.maxDecimals >= 6 ? `${n}.187500` : String(n));
  readonly item = (purchase: TestPurchase, hour: number, amount: string, dimension = 0, itemId: string = randomUUID()): UsageWireItem => {
    const hourStart = this.h.closedHour(purchase, hour);
    return this.adapter.buildUsageItem({
      itemId,
      externalSubscriptionId: purchase.externalSubscriptionId,
      externalPlanId: purchase.externalPlanId,
      dimension: purchase.dimensions[dimension]!,
      hourStart,
      startsAt: hourStart,
      endsAt: new Date(hourStart.getTime() + HOUR),
      quantity: amount,
      refs: purchase.refs,
    });
  };
  readonly send = async (...items: UsageWireItem[]): Promise<UsageItemOutcome[]> => {
    const outcomes = await this.adapter.submitUsage(items);
    expect(new Set(outcomes.map((o) => o.itemId)), 'one outcome for each item').toEqual(new Set(items.map((i) => i.itemId)));
    expect(outcomes).toHaveLength(items.length);
    return items.map((i) => outcomes.find((o) => o.itemId === i.itemId)!);
  };
  readonly billedSum = async (purchase: TestPurchase): Promise<string> =>
    sumDecimals((await this.h.billed(purchase)).map((b) => b.quantity));
}
