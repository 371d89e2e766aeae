import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, type RequestedChange, type SubscriptionTruth } from '#marketplaces/core';
import type { components } from '../../../../openapi/generated/azure-saas.js';
import { type ApiAnswer, type ApiClient, failureOf } from './api-client.js';
import type { AzureOperation } from './operations.js';
import type { AzureReader } from './reader.js';
import type { AzureSettings } from './settings.js';

type Schemas = components['schemas'];

/** The calls that change something at Microsoft. Status codes are hints here too: what counts is what a re-read says. */
export class AzureChanges {
  constructor(
    private readonly settings: AzureSettings,
    private readonly api: ApiClient,
    private readonly reader: AzureReader,
  ) {}

  /** Activate: billing starts with it (contract azure §5). */
  async acknowledge(truth: SubscriptionTruth): Promise<void> {
    const id = truth.externalSubscriptionId;
    const before = notEnded(await this.reader.subscription(id));
    if (isActivated(before)) return;
    const body: Schemas['ActivateRequest'] = {
      planId: before.externalPlanId,
      ...(before.quantity === null ? {} : { quantity: before.quantity }),
    };
    const failure = await this.attempt('activate', 'POST', `/saas/subscriptions/${id}/activate`, body);
    if (!failure) return;
    // A 400 also means "already done", a 5xx or a lost answer may.
    if (isActivated(notEnded(await this.rereadOr(failure, () => this.reader.subscription(id))))) return;
    throw failure;
  }

  /** Without this word a change may hang instead of being accepted (contract azure §4). */
  async answerChange(truth: SubscriptionTruth, change: RequestedChange, accept: boolean): Promise<void> {
    const id = truth.externalSubscriptionId;
    const body: Schemas['OperationAnswer'] = { status: accept ? 'Success' : 'Failure' };
    const failure = await this.attempt(
      'answerOperation',
      'PATCH',
      `/saas/subscriptions/${id}/operations/${change.externalOperationId}`,
      body,
    );
    if (!failure && accept) return;
    const operation = await this.rereadOr(failure, () => this.reader.operation(id, change.externalOperationId));
    if (accept) return this.settleAccepted(operation, failure!);
    await this.settleRefused(truth, change, operation, failure);
  }

  private settleAccepted(operation: AzureOperation | null, failure: Error): void {
    // Also the 500 to an operation of our own that has succeeded (contract azure §3, "Real service vs docs").
    if (operation?.status === 'succeeded') return;
    if (operation?.status === 'superseded') throw new MarketplaceRefusal('azure.change_superseded', 'a newer change has won');
    if (operation?.status === 'failed') throw new MarketplaceRefusal('azure.change_dropped', 'the change has failed there already');
    throw failure;
  }

  private async settleRefused(
    truth: SubscriptionTruth,
    change: RequestedChange,
    operation: AzureOperation | null,
    failure: Error | null,
  ): Promise<void> {
    if (operation?.status === 'failed' || operation?.status === 'superseded') return;
    if (operation?.status === 'succeeded') return this.undo(truth, change);
    if (failure) throw failure;
    // The running service has ignored a refusal before: not done until it reads so.
    if (!operation) return;
    throw new MarketplaceUnknown('the refusal was taken, but the operation still reads as pending');
  }

  /** Silence was taken for a yes: the refusal holds by asking for the old value back. */
  private async undo(before: SubscriptionTruth, change: RequestedChange): Promise<void> {
    const id = before.externalSubscriptionId;
    const now = await this.reader.subscription(id);
    const isPlan = change.kind === 'plan';
    const inForce = now && (isPlan ? now.externalPlanId === change.toExternalPlanId : now.quantity === change.toQuantity);
    if (!inForce) return;
    const old: Schemas['ChangeRequest'] | null = isPlan
      ? before.externalPlanId === change.toExternalPlanId
        ? null
        : { planId: before.externalPlanId }
      : before.quantity === null || before.quantity === change.toQuantity
        ? null
        : { quantity: before.quantity };
    if (!old) throw new MarketplaceRefusal('azure.change_in_force', 'the change is in force and what was before it is not known');
    if (now.readOnly)
      throw new MarketplaceRefusal('azure.change_in_force', 'the change is in force and this purchase may only be changed at its reseller');
    const failure = await this.attempt('changeSubscription', 'PATCH', `/saas/subscriptions/${id}`, old);
    if (failure) throw failure;
  }

  /** Null when it was taken. A throttled call or one that was never sent has had no effect and is thrown at once. */
  private async attempt(operation: string, method: 'POST' | 'PATCH', path: string, body: unknown): Promise<Error | null> {
    let answer: ApiAnswer;
    try {
      answer = await this.api.call({
        method,
        path,
        body: JSON.stringify(body),
        timeoutMs: this.settings.timeoutsMs.write,
        changes: true,
        operation,
      });
    } catch (error) {
      if (error instanceof MarketplaceUnknown) return error;
      throw error;
    }
    return answer.status >= 200 && answer.status < 300 ? null : failureOf(operation, answer, true);
  }

  /** A failed re-read leaves us with the first failure; after a lost answer that is `unknown`. */
  private async rereadOr<T>(failure: Error | null, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (failure instanceof MarketplaceUnknown && (error instanceof MarketplaceBusy || error instanceof MarketplaceRefusal)) throw failure;
      throw error;
    }
  }
}

/** Suspended ones have been active before. */
const isActivated = (truth: SubscriptionTruth): boolean => truth.state === 'active' || truth.state === 'suspended';

function notEnded(truth: SubscriptionTruth | null): SubscriptionTruth {
  if (!truth) throw new MarketplaceRefusal('azure.not_found', 'the marketplace knows no such subscription');
  if (truth.state === 'ended' || truth.state === 'voided')
    throw new MarketplaceRefusal('azure.subscription_ended', 'an ended subscription cannot be activated');
  return truth;
}
