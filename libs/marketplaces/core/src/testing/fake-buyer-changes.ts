import { randomUUID } from 'node:crypto';
import { MarketplaceRefusal, type RequestedChange, type SubscriptionTruth } from '../index.js';
import type { FakeChange } from './fake-words.js';

/** The buyer's changes at the fake: each waits for our answer, or for what silence does. */
export class FakeBuyerChanges {
  readonly all = new Map<string, FakeChange & { externalSubscriptionId: string }>();

  constructor(private readonly patch: (id: string, change: Partial<SubscriptionTruth>) => void) {}

  request(truth: SubscriptionTruth, to: { externalPlanId?: string; quantity?: number; requestedByUs?: boolean }): string {
    const changeId = randomUUID();
    const kind = to.externalPlanId === undefined ? 'quantity' : 'plan';
    const isRevert = kind === 'plan' ? to.externalPlanId === truth.externalPlanId : to.quantity === truth.quantity;
    this.all.set(changeId, {
      externalSubscriptionId: truth.externalSubscriptionId,
      externalOperationId: changeId,
      kind,
      toExternalPlanId: to.externalPlanId ?? null,
      toQuantity: to.quantity ?? null,
      answerBefore: null,
      requestedByUs: to.requestedByUs ?? false,
      ...(isRevert ? { isRevert } : {}),
      status: 'pending',
    });
    return changeId;
  }

  settle(changeId: string, accept: boolean): void {
    const change = this.all.get(changeId);
    if (!change) throw new Error(`no change ${changeId}`);
    change.status = accept ? 'succeeded' : 'failed';
    if (accept)
      this.patch(
        change.externalSubscriptionId,
        change.kind === 'plan' ? { externalPlanId: change.toExternalPlanId! } : { quantity: change.toQuantity },
      );
  }

  answer(truth: SubscriptionTruth, change: RequestedChange, accept: boolean): void {
    const known = this.all.get(change.externalOperationId);
    if (!known) throw new MarketplaceRefusal('fake.not_found', 'no such change');
    if (known.status === 'pending') this.settle(change.externalOperationId, accept);
    else if (known.status === 'failed' && accept) throw new MarketplaceRefusal('fake.change_dropped', 'the change is off');
    // A refusal must hold: what silence accepted is taken back.
    else if (known.status === 'succeeded' && !accept)
      this.patch(
        truth.externalSubscriptionId,
        change.kind === 'plan' ? { externalPlanId: truth.externalPlanId } : { quantity: truth.quantity },
      );
  }

  /** Ids of those that wait for a word of ours. */
  waiting(externalSubscriptionId: string): string[] {
    return [...this.all]
      .filter(([, one]) => one.externalSubscriptionId === externalSubscriptionId && one.status === 'pending' && !one.requestedByUs)
      .map(([changeId]) => changeId);
  }
}
