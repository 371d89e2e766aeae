import { randomUUID } from 'node:crypto';
import { MarketplaceRefusal, type PublisherChange, type PublisherChangeProgress, type SubscriptionTruth } from '../index.js';

interface Running extends PublisherChangeProgress {
  externalSubscriptionId: string;
  change: PublisherChange;
}

/** The publisher's own changes at the fake: each stays pending until the test settles it. */
export class FakePublisherChanges {
  private readonly all = new Map<string, Running>();

  constructor(
    private readonly seen: (id: string) => SubscriptionTruth | null,
    private readonly patch: (id: string, change: Partial<SubscriptionTruth>) => void,
  ) {}

  /** Ids of those that wait, oldest first. */
  pending(): string[] {
    return [...this.all].filter(([, one]) => one.state === 'pending').map(([id]) => id);
  }

  settle(id: string, state: 'succeeded' | 'failed'): void {
    const one = this.all.get(id)!;
    one.state = state;
    if (state === 'failed') return;
    const { change } = one;
    this.patch(
      one.externalSubscriptionId,
      change.kind === 'cancel'
        ? { state: 'ended' }
        : change.kind === 'plan'
          ? { externalPlanId: change.toExternalPlanId }
          : { quantity: change.toQuantity },
    );
  }

  start(externalSubscriptionId: string, change: PublisherChange): PublisherChangeProgress {
    if (!this.seen(externalSubscriptionId)) throw new MarketplaceRefusal('fake.not_found', 'no such purchase');
    if (this.isInForce(externalSubscriptionId, change)) return { state: 'succeeded', externalOperationId: null };
    const same = [...this.all.values()].find(
      (one) =>
        one.state === 'pending' &&
        one.externalSubscriptionId === externalSubscriptionId &&
        JSON.stringify(one.change) === JSON.stringify(change),
    );
    if (same) return { state: same.state, externalOperationId: same.externalOperationId };
    const id = randomUUID();
    this.all.set(id, { state: 'pending', externalOperationId: id, externalSubscriptionId, change });
    return { state: 'pending', externalOperationId: id };
  }

  read(externalSubscriptionId: string, change: PublisherChange, id: string | null): PublisherChangeProgress {
    const known = id ? this.all.get(id) : undefined;
    const state = known?.state ?? (this.isInForce(externalSubscriptionId, change) ? 'succeeded' : 'pending');
    return { state, externalOperationId: id };
  }

  private isInForce(id: string, change: PublisherChange): boolean {
    const truth = this.seen(id);
    if (change.kind === 'cancel') return truth?.state === 'ended';
    return change.kind === 'plan' ? truth?.externalPlanId === change.toExternalPlanId : truth?.quantity === change.toQuantity;
  }
}
