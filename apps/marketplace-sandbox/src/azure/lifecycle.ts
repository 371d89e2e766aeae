import { randomUUID } from 'node:crypto';
import { DAY, SECOND } from '../shared/clock.js';
import type { AzureContext } from './context.js';
import type { Deliveries } from './deliveries.js';
import type { Operations } from './operations.js';
import type { AzureOffer, AzurePlan, Person } from './settings.js';
import { renewalMs, startOfDay, termAt } from './terms.js';
import type { AzureOperation, AzureSubscription, OperationAction } from './types.js';

export interface PurchaseInput {
  offer: AzureOffer;
  plan: AzurePlan;
  quantity: number | null;
  name: string;
  beneficiary: Person;
  purchaser: Person;
  autoActivate: boolean;
  autoRenew: boolean;
  isTest: boolean;
  isFreeTrial: boolean;
  csp: boolean;
}

const TOKEN_LIFE_MS = DAY;
const ACTIVATE_WITHIN_MS = 30 * DAY;
const SUSPENDED_FOR_MS = 30 * DAY;

/** The state machine of a SaaS subscription (contract azure §5). Callers check that a move is allowed. */
export class Lifecycle {
  constructor(
    private readonly context: AzureContext,
    private readonly operations: Operations,
    private readonly deliveries: Deliveries,
    /** Asks for a prompt delivery. */
    private readonly kick: () => void,
  ) {}

  purchase(input: PurchaseInput): AzureSubscription {
    const now = this.context.clock.now();
    const anchor = startOfDay(now);
    const subscription: AzureSubscription = {
      id: randomUUID(),
      name: input.name,
      offerId: input.offer.id,
      publisherId: input.offer.publisherId,
      planId: input.plan.id,
      quantity: input.quantity,
      status: 'PendingFulfillmentStart',
      beneficiary: input.beneficiary,
      purchaser: input.purchaser,
      azureSubscriptionId: randomUUID(),
      term: termAt(anchor, input.plan.termUnit, 0),
      termAnchor: anchor,
      termIndex: 0,
      autoRenew: input.autoRenew,
      isTest: input.isTest,
      isFreeTrial: input.isFreeTrial,
      isCsp: input.csp,
      // The customer of a reseller changes things at the reseller (contract azure §3, parsing traps).
      allowedCustomerOperations: input.csp ? ['Read'] : ['Delete', 'Update', 'Read'],
      createdAt: now.toISOString(),
      lastModifiedAt: null,
      activatedAt: null,
      suspendedAt: null,
      unsubscribedAt: null,
      planHistory: [{ planId: input.plan.id, from: now.toISOString() }],
    };
    this.save(subscription);
    if (!input.autoActivate) return subscription;
    const active = this.activate(subscription);
    this.notify(active, 'Subscribe', 'Azure', 'Succeeded');
    return active;
  }

  /** A landing token; valid 24 h and usable again within them (contract azure §2). */
  landingToken(subscription: AzureSubscription): { token: string; expiresAt: string } {
    const expiresAt = new Date(this.context.clock.nowMs() + TOKEN_LIFE_MS).toISOString();
    return { token: this.context.state.mintToken(subscription.id, expiresAt), expiresAt };
  }

  activate(subscription: AzureSubscription): AzureSubscription {
    const now = this.context.clock.now();
    const anchor = startOfDay(now);
    return this.save({
      ...subscription,
      status: 'Subscribed',
      activatedAt: now.toISOString(),
      termAnchor: anchor,
      termIndex: 0,
      term: termAt(anchor, subscription.term.termUnit, 0),
    });
  }

  /** Waits for the publisher's word; the subscription stays as it is until then. */
  requestChange(
    subscription: AzureSubscription,
    requested: { planId?: string; quantity?: number },
    source: AzureOperation['source'],
  ): AzureOperation {
    const action = requested.planId === undefined ? 'ChangeQuantity' : 'ChangePlan';
    return this.notify(subscription, action, source, 'InProgress', requested);
  }

  /** The quirk of contract azure §4, "Revert event". */
  revert(refused: AzureOperation): void {
    const subscription = this.context.state.subscriptions.get(refused.subscriptionId);
    const isRevert = refused.planId === subscription?.planId && refused.quantity === subscription.quantity;
    if (!subscription || isRevert || refused.action !== 'ChangePlan' || !this.context.settings().revertAfterRefusal) return;
    this.requestChange(subscription, { planId: subscription.planId }, 'Azure');
  }

  suspend(subscription: AzureSubscription): AzureOperation {
    const suspended = this.save({ ...subscription, status: 'Suspended', suspendedAt: this.context.clock.now().toISOString() });
    return this.notify(suspended, 'Suspend', 'Azure', 'Succeeded');
  }

  reinstate(subscription: AzureSubscription): AzureOperation {
    if (this.context.settings().reinstate === 'patch') return this.notify(subscription, 'Reinstate', 'Azure', 'InProgress');
    const active = this.save({ ...subscription, status: 'Subscribed', suspendedAt: null });
    return this.notify(active, 'Reinstate', 'Azure', 'InProgress');
  }

  renew(subscription: AzureSubscription): AzureOperation {
    const termIndex = subscription.termIndex + 1;
    const renewed = this.save({ ...subscription, termIndex, term: termAt(subscription.termAnchor, subscription.term.termUnit, termIndex) });
    return this.notify(renewed, 'Renew', 'Azure', 'Succeeded');
  }

  /** A purchase that was never activated ends unannounced: the publisher learns of it by List and Get. */
  unsubscribe(subscription: AzureSubscription, source: AzureOperation['source'] = 'Azure'): AzureOperation | undefined {
    this.operations.cancelPending(subscription.id);
    const wasActive = subscription.activatedAt !== null;
    const ended = this.save({ ...subscription, status: 'Unsubscribed', unsubscribedAt: this.context.clock.now().toISOString() });
    if (source === 'Partner') {
      const operation = this.operations.create(ended, 'Unsubscribe', 'Partner', 'InProgress');
      const acceptAt = new Date(this.context.clock.nowMs() + this.context.settings().partnerOperationDelaySeconds * SECOND).toISOString();
      this.context.state.operations.put(operation.id, { ...operation, acceptAt });
      if (wasActive) this.deliveries.enqueue(operation, ended);
      this.kick();
      return operation;
    }
    return wasActive ? this.notify(ended, 'Unsubscribe', source, 'Succeeded') : undefined;
  }

  /** Moves that come with time alone; answers whether there was one. */
  runTimers(): boolean {
    const now = this.context.clock.nowMs();
    let moved = false;
    for (const one of this.context.state.subscriptions.values()) {
      if (one.status === 'PendingFulfillmentStart' && now >= Date.parse(one.createdAt) + ACTIVATE_WITHIN_MS) this.unsubscribe(one);
      else if (one.status === 'Suspended' && one.suspendedAt && now >= Date.parse(one.suspendedAt) + SUSPENDED_FOR_MS)
        this.unsubscribe(one);
      else if (one.status === 'Subscribed' && now >= renewalMs(one.term)) {
        if (one.autoRenew) this.renew(one);
        else this.unsubscribe(one);
      } else continue;
      moved = true;
    }
    return moved;
  }

  private save(subscription: AzureSubscription): AzureSubscription {
    return this.context.state.subscriptions.put(subscription.id, {
      ...subscription,
      lastModifiedAt: subscription.status === 'PendingFulfillmentStart' ? null : this.context.clock.now().toISOString(),
    });
  }

  private notify(
    subscription: AzureSubscription,
    action: OperationAction,
    source: AzureOperation['source'],
    status: AzureOperation['status'],
    requested: { planId?: string; quantity?: number } = {},
  ): AzureOperation {
    const operation = this.operations.create(subscription, action, source, status, requested);
    this.deliveries.enqueue(operation, subscription);
    this.kick();
    return operation;
  }
}
