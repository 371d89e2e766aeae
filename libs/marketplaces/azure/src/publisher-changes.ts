import {
  MarketplaceRefusal,
  MarketplaceUnknown,
  type PublisherChange,
  type PublisherChangeProgress,
  type SubscriptionTruth,
} from '#marketplaces/core';
import type { components } from '../../../../openapi/generated/azure-saas.js';
import { type ApiClient, failureOf } from './api-client.js';
import { guidOf } from './liberal.js';
import { type AzureOperation, knownAction, type KnownAction } from './operations.js';
import type { AzureReader } from './reader.js';
import type { AzureSettings } from './settings.js';

type ChangeRequest = components['schemas']['ChangeRequest'];

const ACTION: Record<PublisherChange['kind'], KnownAction> = { plan: 'changeplan', quantity: 'changequantity', cancel: 'unsubscribe' };

/** What the publisher asks for: PATCH with a plan or a quantity, never both, or DELETE; done when the operation says so (contract azure §3). */
export class AzurePublisherChanges {
  constructor(
    private readonly settings: AzureSettings,
    private readonly api: ApiClient,
    private readonly reader: AzureReader,
  ) {}

  /** Looks before it asks, so that a repeat after a crash or a lost answer finds the first one. */
  async start(truth: SubscriptionTruth, change: PublisherChange): Promise<PublisherChangeProgress> {
    const id = truth.externalSubscriptionId;
    const now = await this.reader.subscription(id);
    if (!now) throw new MarketplaceRefusal('azure.not_found', 'the marketplace knows no such subscription');
    if (isInForce(now, change)) return { state: 'succeeded', externalOperationId: null };
    if (now.state === 'ended' || now.state === 'voided')
      throw new MarketplaceRefusal('azure.subscription_ended', 'an ended subscription cannot be changed');
    if (now.readOnly)
      throw new MarketplaceRefusal('azure.read_only', 'a purchase made through a reseller can only be changed or cancelled there');
    const running = (await this.reader.pendingOperations(id)).find((one) => asksFor(one, change));
    if (running) return { state: 'pending', externalOperationId: running.operationId };
    const body: ChangeRequest | null =
      change.kind === 'cancel' ? null : change.kind === 'plan' ? { planId: change.toExternalPlanId } : { quantity: change.toQuantity };
    const operation = body ? 'changeSubscription' : 'cancelSubscription';
    const answer = await this.api.call({
      method: body ? 'PATCH' : 'DELETE',
      path: `/saas/subscriptions/${id}`,
      ...(body ? { body: JSON.stringify(body) } : {}),
      timeoutMs: this.settings.timeoutsMs.write,
      changes: true,
      operation,
    });
    if (answer.status < 200 || answer.status >= 300) throw failureOf(operation, answer, true);
    return { state: 'pending', externalOperationId: operationIdOf(answer.operationLocation, id) };
  }

  async read(externalSubscriptionId: string, change: PublisherChange, operationId: string | null): Promise<PublisherChangeProgress> {
    const progress = (state: PublisherChangeProgress['state']): PublisherChangeProgress => ({ state, externalOperationId: operationId });
    const operation = operationId ? await this.reader.operation(externalSubscriptionId, operationId) : null;
    if (operation?.status === 'succeeded' || operation?.status === 'failed' || operation?.status === 'superseded')
      return progress(operation.status);
    const now = await this.reader.subscription(externalSubscriptionId);
    if (now && isInForce(now, change)) return progress('succeeded');
    // A row of an ended purchase may go with all its operations.
    if (!now && change.kind === 'cancel') return progress('succeeded');
    return progress('pending');
  }
}

function isInForce(truth: SubscriptionTruth, change: PublisherChange): boolean {
  if (change.kind === 'cancel') return truth.state === 'ended';
  return change.kind === 'plan' ? truth.externalPlanId === change.toExternalPlanId : truth.quantity === change.toQuantity;
}

function asksFor(operation: AzureOperation, change: PublisherChange): boolean {
  if (!operation.operationId || knownAction(operation.action) !== ACTION[change.kind]) return false;
  if (change.kind === 'cancel') return true;
  return change.kind === 'plan' ? operation.planId === change.toExternalPlanId : operation.quantity === change.toQuantity;
}

/** The id only: with our token we follow no address that an answer names. */
function operationIdOf(location: string | undefined, subscriptionId: string): string | null {
  const match = /\/subscriptions\/([^/?]+)\/operations\/([^/?]+)/i.exec(location ?? '');
  if (!match) return null;
  if (guidOf(match[1]) !== subscriptionId)
    throw new MarketplaceUnknown('the change was taken, but its operation is said to be of another subscription');
  return guidOf(match[2]);
}
