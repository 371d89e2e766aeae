import { HOUR } from '../shared/clock.js';
import { sumDecimals } from '../shared/exact-json.js';
import { ControlError } from '../shared/http.js';
import { changeFault, quantityFault } from './change-rules.js';
import type { AzureContext } from './context.js';
import type { Lifecycle } from './lifecycle.js';
import { type AzureOffer, offerOf, type Person, planOf, planVisibleTo } from './settings.js';
import type { AcceptedUsage, AzureOperation, AzureSubscription } from './types.js';
import { postWebhook, type WebhookAnswer } from './webhook-client.js';
import type { Forgery, WebhookTokens } from './webhook-token.js';

export interface PurchaseRequest {
  offerId: string;
  planId: string;
  quantity?: number;
  subscriptionName?: string;
  beneficiary?: Partial<Person>;
  purchaser?: Partial<Person>;
  autoActivate?: boolean;
  autoRenew?: boolean;
  isTest?: boolean;
  isFreeTrial?: boolean;
  csp?: boolean;
}

/** `by` is decimal text, negative to lower it. */
export interface BilledAdjustment {
  externalId: string;
  dimension: string;
  hour: string;
  by: string;
}

export interface Landing {
  subscriptionId: string;
  landingUrl: string;
  token: string;
  tokenExpiresAt: string;
}

const ANONYMOUS: Person = {
  emailId: 'buyer@wharfside.example',
  objectId: '5c7fbd43-64a6-4ea1-98f9-3a4b5c6d7e84',
  tenantId: '7c6b5a49-3827-4615-a403-f1e0d9c8b7a3',
  puid: null,
};

/** What the buyer, the reseller and Microsoft's billing do; used by the control surface and the storefront. */
export class AzureDesk {
  constructor(
    private readonly context: AzureContext,
    private readonly lifecycle: Lifecycle,
    private readonly tokens: WebhookTokens,
  ) {}

  purchase(request: PurchaseRequest): Landing {
    const settings = this.context.settings();
    const offer = this.offer(request.offerId);
    const plan = planOf(settings, offer.id, request.planId);
    const buyer = settings.buyers[0]?.beneficiary ?? ANONYMOUS;
    const beneficiary = { ...buyer, ...request.beneficiary };
    if (!plan || !planVisibleTo(plan, beneficiary.tenantId))
      throw new ControlError(404, 'plan.unknown', `The offer ${offer.id} has no plan ${request.planId} for this buyer.`);
    if (plan.isStopSell) throw new ControlError(409, 'plan.stop_sell', `The plan ${plan.id} is no longer sold.`);
    if (request.isFreeTrial && !plan.hasFreeTrials) throw new ControlError(400, 'plan.no_trial', `The plan ${plan.id} has no free trial.`);
    const fault = quantityFault(plan, request.quantity);
    if (fault) throw new ControlError(400, 'quantity.invalid', fault.message);
    const csp = request.csp ?? false;
    const purchaser = { ...(csp ? settings.reseller : beneficiary), ...request.purchaser };
    // A reseller buys for a customer; the two are never one directory (contract azure §2, "Buyer != user").
    if (csp && purchaser.tenantId === beneficiary.tenantId)
      throw new ControlError(400, 'csp.own_purchase', 'A reseller buys for somebody else: name a purchaser of another tenantId.');
    this.landingBase(offer);
    const subscription = this.lifecycle.purchase({
      offer,
      plan,
      quantity: request.quantity ?? null,
      name: request.subscriptionName ?? `${offer.displayName} ${plan.displayName}`,
      beneficiary,
      purchaser,
      autoActivate: request.autoActivate ?? plan.autoActivate,
      autoRenew: request.autoRenew ?? true,
      isTest: request.isTest ?? false,
      isFreeTrial: request.isFreeTrial ?? false,
      csp,
    });
    return this.manage(subscription.id);
  }

  /** "Configure account" and "Manage account" open the same page with a fresh token (contract azure §2). */
  manage(id: string): Landing {
    const subscription = this.subscription(id);
    const url = this.landingBase(this.offer(subscription.offerId));
    const { token, expiresAt } = this.lifecycle.landingToken(subscription);
    return {
      subscriptionId: id,
      landingUrl: `${url}${url.includes('?') ? '&' : '?'}token=${encodeURIComponent(token)}`,
      token,
      tokenExpiresAt: expiresAt,
    };
  }

  changePlan(id: string, planId: string): AzureOperation {
    return this.change(id, { planId });
  }

  changeQuantity(id: string, quantity: number): AzureOperation {
    return this.change(id, { quantity });
  }

  suspend(id: string): AzureOperation {
    return this.lifecycle.suspend(this.inState(id, ['Subscribed']));
  }

  reinstate(id: string): AzureOperation {
    return this.lifecycle.reinstate(this.inState(id, ['Suspended']));
  }

  renew(id: string): AzureOperation {
    return this.lifecycle.renew(this.inState(id, ['Subscribed']));
  }

  unsubscribe(id: string): AzureOperation | undefined {
    return this.lifecycle.unsubscribe(this.inState(id, ['PendingFulfillmentStart', 'Subscribed', 'Suspended']));
  }

  list(): AzureSubscription[] {
    return this.context.state.subscriptions.values();
  }

  /** Microsoft's own view, with how each webhook was answered. */
  view(id: string): object {
    const subscription = this.subscription(id);
    const { state } = this.context;
    return {
      ...subscription,
      operations: state.operationsOf(id),
      webhooks: state.deliveriesOf(id).map(({ body, ...delivery }) => ({ ...delivery, body: JSON.parse(body) as unknown })),
    };
  }

  /** Sends a body of the caller's making, once, and tells what came back. */
  async deliver(
    body: unknown,
    forge: Forgery,
    headers: Record<string, string> | undefined,
    offerId: string | undefined,
  ): Promise<WebhookAnswer> {
    const settings = this.context.settings();
    const named = offerId ?? (body as { offerId?: unknown } | null)?.offerId;
    const offer = (typeof named === 'string' ? offerOf(settings, named) : undefined) ?? settings.offers[0];
    const url = offer?.webhookUrl ?? settings.webhookUrl;
    if (!offer || !url) throw new ControlError(409, 'webhook.unset', 'Set azure.webhookUrl with PUT /sandbox/settings.');
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return postWebhook(url, text, await this.tokens.mint(offer, forge), settings.answerWindowSeconds * 1000, headers);
  }

  /** Changes one accepted quantity behind everybody's back, as a marketplace's own fault would. */
  adjustBilled(adjustment: BilledAdjustment): AcceptedUsage {
    const hour = new Date(Math.floor(Date.parse(adjustment.hour) / HOUR) * HOUR).toISOString();
    const key = `${adjustment.externalId.toLowerCase()}|${adjustment.dimension}|${hour}`;
    const usage = this.context.state.usage.get(key);
    if (!usage) throw new ControlError(404, 'billed.unknown', `Nothing was accepted for ${key}.`);
    return this.context.state.usage.put(key, { ...usage, quantity: sumDecimals([usage.quantity, adjustment.by]) });
  }

  private change(id: string, change: { planId?: string; quantity?: number }): AzureOperation {
    const subscription = this.subscription(id);
    const fault = changeFault(subscription, this.context.settings(), change);
    if (fault) throw new ControlError(409, 'change.refused', fault.message);
    return this.lifecycle.requestChange(subscription, change, 'Azure');
  }

  private inState(id: string, states: AzureSubscription['status'][]): AzureSubscription {
    const subscription = this.subscription(id);
    if (states.includes(subscription.status)) return subscription;
    throw new ControlError(409, 'subscription.state', `The subscription is ${subscription.status}; this needs ${states.join(' or ')}.`);
  }

  private subscription(id: string): AzureSubscription {
    const subscription = this.context.state.subscriptions.get(id);
    if (!subscription) throw new ControlError(404, 'subscription.unknown', `There is no subscription ${id}.`);
    return subscription;
  }

  private offer(id: string): AzureOffer {
    const offer = offerOf(this.context.settings(), id);
    if (!offer) throw new ControlError(404, 'offer.unknown', `There is no offer ${id}.`);
    return offer;
  }

  private landingBase(offer: AzureOffer): string {
    const url = offer.landingUrl ?? this.context.settings().landingUrl;
    if (!url) throw new ControlError(409, 'landing.unset', 'Set azure.landingUrl with PUT /sandbox/settings.');
    return url;
  }
}
