import { randomUUID } from 'node:crypto';
import { type Clock, equalDecimals, sumDecimals } from '#platform';
import {
  MarketplaceRefusal,
  type ReadBackLine,
  type ReadBackQuery,
  type SubscriptionTruth,
  type UsageItemInput,
  type UsageItemOutcome,
  type UsageTraits,
  type UsageWireItem,
} from '../index.js';
import type { FakeBilled } from './fake-words.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** What the fake takes of usage, and what it bills. */
export class FakeUsage {
  private readonly accepted = new Map<string, FakeBilled>();

  constructor(
    private readonly clock: Clock,
    private readonly traits: UsageTraits,
    private readonly truthOf: (id: string) => SubscriptionTruth | undefined,
  ) {}

  /** The marketplace takes one accepted item back by itself, as after a claim. */
  takeBack(wireKey: string): void {
    this.accepted.delete(wireKey);
  }

  billed(externalSubscriptionId?: string): FakeBilled[] {
    return [...this.accepted.values()].filter(
      (one) => externalSubscriptionId === undefined || one.externalSubscriptionId === externalSubscriptionId,
    );
  }

  build(input: UsageItemInput): UsageWireItem {
    const number = /^(?:0|[1-9]\d*)(?:\.(\d+))?$/.exec(input.quantity);
    if (!number || (number[1] ?? '').length > this.traits.maxDecimals)
      throw new MarketplaceRefusal('fake.invalid_quantity', 'not a quantity this marketplace takes');
    if (!this.traits.zeroWanted && equalDecimals(input.quantity, '0'))
      throw new MarketplaceRefusal('fake.invalid_quantity', 'zero is not taken');
    const hour = new Date(Math.floor(input.hourStart.getTime() / HOUR) * HOUR).toISOString();
    return {
      itemId: input.itemId,
      wireKey: `${input.externalSubscriptionId}|${input.dimension}|${hour}${this.traits.hourKey === 'one_per_hour' ? '' : `|${input.itemId}`}`,
      body: JSON.stringify({
        id: input.externalSubscriptionId,
        plan: input.externalPlanId,
        dimension: input.dimension,
        hour,
        quantity: input.quantity,
        ...(input.parts ? { parts: input.parts } : {}),
      }),
      route: {},
    };
  }

  take(item: UsageWireItem): UsageItemOutcome {
    const { itemId } = item;
    const { id, plan, dimension, hour, quantity } = JSON.parse(item.body) as {
      id: string;
      plan: string;
      dimension: string;
      hour: string;
      quantity: string;
    };
    const truth = this.truthOf(id);
    if (!truth) return { itemId, outcome: 'rejected', code: 'fake.resource_not_found', detail: 'no such purchase' };
    const earlier = this.accepted.get(item.wireKey);
    if (earlier) {
      const same = equalDecimals(earlier.quantity, quantity) && earlier.externalPlanId === plan;
      return {
        itemId,
        outcome: same ? 'duplicate_equal' : 'duplicate_conflict',
        receipt: earlier.receipt,
        acceptedQuantity: earlier.quantity,
      };
    }
    if (truth.state !== 'active' && truth.state !== 'ended')
      return { itemId, outcome: 'deferred', code: 'fake.resource_not_active', detail: `it is ${truth.state}`, retryAfterMs: 900_000 };
    const now = this.clock.now();
    if (now.getTime() - Date.parse(hour) > DAY) return { itemId, outcome: 'expired', detail: 'more than 24 hours ago' };
    const billed: FakeBilled = {
      externalSubscriptionId: id,
      externalPlanId: plan,
      dimension,
      hour,
      quantity,
      receipt: randomUUID(),
      acceptedAt: now,
    };
    this.accepted.set(item.wireKey, billed);
    return { itemId, outcome: 'accepted', receipt: billed.receipt, acceptedQuantity: quantity, at: now };
  }

  readBack(query: ReadBackQuery): ReadBackLine[] {
    const groups = new Map<string, FakeBilled[]>();
    for (const one of this.billed(query.externalSubscriptionId)) {
      const day = Math.floor(Date.parse(one.hour) / DAY) * DAY;
      if (day + DAY <= query.from.getTime() || day >= query.to.getTime()) continue;
      const key = [day, one.externalSubscriptionId, one.externalPlanId, one.dimension].join('|');
      groups.set(key, [...(groups.get(key) ?? []), one]);
    }
    return [...groups.values()].map((group) => {
      const { hour, externalSubscriptionId, externalPlanId, dimension } = group[0]!;
      const day = Math.floor(Date.parse(hour) / DAY) * DAY;
      return {
        periodStart: new Date(day),
        periodEnd: new Date(day + DAY),
        externalSubscriptionId,
        externalPlanId,
        dimension,
        quantity: sumDecimals(group.map((g) => g.quantity)),
        count: group.length,
        provisional: false,
      };
    });
  }
}
