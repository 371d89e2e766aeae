import { HOUR } from '../shared/clock.js';
import { sumDecimals } from '../shared/exact-json.js';
import { ControlError } from '../shared/http.js';
import type { GcpContext } from './context.js';
import type { GcpLifecycle } from './lifecycle.js';
import type { Notifications } from './notifications.js';
import type { PushForgery } from './pubsub/push-token.js';
import type { PushAnswer, Pusher } from './pubsub/pusher.js';
import { type OfferRequest, offerName, priceOf, type ReplacementRequest, termsOf } from './offers.js';
import { planOf } from './settings.js';
import type { Forgery, SignUp, SignUpForm } from './sign-up.js';
import type { SignUpKeys } from './sign-up-keys.js';
import type { EntitlementState, GcpAccount, GcpEntitlement, GcpUsage } from './types.js';
import { entitlementWire } from './wire.js';

export interface GcpPurchaseRequest {
  planId: string;
  /** Buyers of one name share their account; without a name it is a new buyer. */
  buyer?: string;
  /** Seconds by which the entitlement's message is late. */
  orderDelay?: number;
  notificationFirst?: boolean;
  landingFirst?: boolean;
  /** The product approves its offers by itself. */
  autoApprove?: boolean;
  /** Of an offer that begins later. */
  startsAt?: string;
  /** Terms of its own. */
  privateOffer?: OfferRequest;
  /** The reseller's billing account; of a new account only. */
  reseller?: string;
}

export interface GcpPurchase {
  entitlementId: string;
  accountId: string;
  orderId: string;
  signUp: SignUpForm;
  notifications: 'sent' | 'order_delayed' | 'after_landing';
}

const LIVE: EntitlementState[] = [
  'ENTITLEMENT_ACTIVE',
  'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL',
  'ENTITLEMENT_PENDING_PLAN_CHANGE',
  'ENTITLEMENT_PENDING_CANCELLATION',
];

/** What the buyer and Google's billing do; used by the control surface and the storefront. */
export class GcpDesk {
  constructor(
    private readonly context: GcpContext,
    private readonly lifecycle: GcpLifecycle,
    private readonly notifications: Notifications,
    private readonly signUps: SignUp,
    private readonly keys: SignUpKeys,
    private readonly pusher: Pusher,
  ) {}

  get seller(): string {
    return this.context.settings().displayName;
  }

  async purchase(request: GcpPurchaseRequest): Promise<GcpPurchase> {
    const { state, settings } = this.context;
    const plan = planOf(settings(), request.planId);
    if (!plan) throw new ControlError(404, 'plan.unknown', `There is no plan ${request.planId}.`);
    const landingFirst = request.landingFirst ?? request.notificationFirst === false;
    this.requireFuture(request.privateOffer?.endsAt, request.startsAt);
    const orderDelay = request.orderDelay ?? 0;
    const buyer = request.buyer ?? `Buyer ${state.next('buyer')}`;
    const bought = this.lifecycle.purchase(plan, buyer, {
      landingFirst,
      orderDelay,
      autoApprove: request.autoApprove,
      startsAt: request.startsAt,
      privateOffer: request.privateOffer,
      reseller: request.reseller,
    });
    const signUp = await this.signUp(bought.id);
    if (landingFirst) {
      const after = settings().landingFirstSeconds;
      this.lifecycle.announcePurchase(this.entitlement(bought.id), after + orderDelay, after);
    }
    const notifications = landingFirst ? 'after_landing' : orderDelay > 0 ? 'order_delayed' : 'sent';
    return { entitlementId: bought.id, accountId: bought.accountId, orderId: bought.id, signUp, notifications };
  }

  /** A buyer whose account is there without an order of this product: he bought another one of the provider (contract gcp §1). */
  async openAccount(buyer: string): Promise<{ accountId: string; signUp: SignUpForm }> {
    const account = this.lifecycle.accounts.open(buyer);
    return { accountId: account.id, signUp: await this.signUps.form(account, []) };
  }

  /** "Register with …" and "Manage on provider" post the same form with a fresh token (contract gcp §1). */
  signUp(id: string, forge: Forgery = 'none'): Promise<SignUpForm> {
    const one = this.entitlement(id);
    return this.signUps.form(this.account(one.accountId), [one.id], forge);
  }

  signUpOfAccount(accountId: string, forge: Forgery): Promise<SignUpForm> {
    const orders = this.context.state.entitlements
      .values()
      .filter((one) => one.accountId === accountId && one.state !== 'ENTITLEMENT_CANCELLED');
    return this.signUps.form(
      this.account(accountId),
      orders.map((one) => one.id),
      forge,
    );
  }

  notify(id: string): number {
    this.entitlement(id);
    return this.notifications.release(id);
  }

  publishAny(data: Buffer): string {
    return this.notifications.publishAny(data);
  }

  get unacknowledged(): number {
    return this.notifications.unacknowledged;
  }

  changePlan(id: string, planId: string, atTermEnd: boolean): void {
    const one = this.inState(id, ['ENTITLEMENT_ACTIVE']);
    if (!planOf(this.context.settings(), planId)) throw new ControlError(404, 'plan.unknown', `There is no plan ${planId}.`);
    if (planId === one.plan) throw new ControlError(409, 'change.refused', `The plan is ${planId} already.`);
    this.lifecycle.requestPlanChange(one, planId, atTermEnd);
  }

  /** The buyer takes another private offer in place of this one; on the same plan, too (contract gcp §5). */
  replaceOffer(id: string, { planId, startsAt, autoApprove, ...offer }: ReplacementRequest): void {
    const one = this.inState(id, ['ENTITLEMENT_ACTIVE']);
    const plan = planOf(this.context.settings(), planId ?? one.plan);
    if (!plan) throw new ControlError(404, 'plan.unknown', `There is no plan ${planId}.`);
    this.requireFuture(offer.endsAt, startsAt);
    this.lifecycle.requestPlanChange(one, plan.id, false, {
      name: offerName(this.context.settings(), 'privateOffers'),
      termMonths: offer.durationMonths ?? plan.termMonths,
      startsAt: startsAt ?? null,
      isApproved: autoApprove ?? false,
      terms: termsOf(offer),
    });
  }

  endOffer(id: string): void {
    const one = this.inState(id, ['ENTITLEMENT_ACTIVE']);
    if (!one.privateTerms || one.offerEndedAt) throw new ControlError(409, 'offer.none', 'No private offer is in force here.');
    this.lifecycle.endOffer({ ...one, offerEndTime: this.context.clock.now().toISOString() });
  }

  /** A person decides in Google's portal: the state changes without a call of the publisher's (contract gcp §5). */
  decideInPortal(id: string, decision: 'approve' | 'reject'): void {
    const one = this.inState(id, ['ENTITLEMENT_ACTIVATION_REQUESTED', 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL']);
    const isNew = one.state === 'ENTITLEMENT_ACTIVATION_REQUESTED';
    if (isNew && one.approvedAt) throw new ControlError(409, 'entitlement.state', 'It is approved and waits for its start.');
    if (decision === 'reject') return isNew ? this.lifecycle.cancel(one, 'unknown') : this.lifecycle.dropPlanChange(one);
    if (isNew) this.lifecycle.approve(one);
    else this.lifecycle.approvePlanChange(one);
  }

  cancelPlanChange(id: string): void {
    this.lifecycle.dropPlanChange(this.inState(id, ['ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL', 'ENTITLEMENT_PENDING_PLAN_CHANGE']));
  }

  cancel(id: string): void {
    this.lifecycle.cancelAtTermEnd(this.inState(id, ['ENTITLEMENT_ACTIVE']));
  }

  cancelNow(id: string): void {
    const one = this.inState(id, ['ENTITLEMENT_ACTIVATION_REQUESTED', ...LIVE]);
    this.lifecycle.cancel(one, one.activatedAt ? 'user-cancelled' : 'user-aborted');
  }

  revertCancel(id: string): void {
    this.lifecycle.revertCancellation(this.inState(id, ['ENTITLEMENT_PENDING_CANCELLATION']));
  }

  renew(id: string): void {
    this.lifecycle.renew(this.inState(id, ['ENTITLEMENT_ACTIVE']));
  }

  delete(id: string): void {
    this.lifecycle.delete(this.inState(id, ['ENTITLEMENT_CANCELLED']));
  }

  /** Billing is a matter of the consumer project: the entitlement's own state does not show it. */
  billing(id: string, enabled: boolean): void {
    const one = this.entitlement(id);
    this.context.state.entitlements.put(id, { ...one, billingDisabledAt: enabled ? null : this.context.clock.now().toISOString() });
  }

  scriptCheck(id: string, code: string | null): void {
    this.context.state.entitlements.put(id, { ...this.entitlement(id), checkError: code });
  }

  scriptReport(id: string, times: number): void {
    this.context.state.entitlements.put(id, { ...this.entitlement(id), reportErrors: times });
  }

  deleteAccount(id: string): void {
    const account = this.account(id);
    const { state } = this.context;
    for (const one of state.entitlements.values()) {
      if (one.accountId !== id) continue;
      if (one.state !== 'ENTITLEMENT_CANCELLED') this.lifecycle.cancel(one, 'account-closed');
      this.lifecycle.delete(this.entitlement(one.id));
    }
    state.accounts.delete(id);
    this.notifications.account({ ...account, updateTime: state.stamp() }, 'ACCOUNT_DELETED', null);
  }

  /** The sign-up waits again, and no message tells of it (contract gcp §1). */
  unapprove(id: string): void {
    this.lifecycle.accounts.decideSignUp(this.account(id), 'PENDING', '');
  }

  /** One push of any text with any token, beside the subscription's own messages. */
  push(body: unknown, forge: PushForgery): Promise<PushAnswer> {
    this.pusher.align();
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return this.pusher.once(text, forge, String(9_000_000_000_000 + this.context.state.next('pushed')));
  }

  rotateKeys(): string {
    return this.keys.rotate();
  }

  list(): GcpEntitlement[] {
    return this.context.state.entitlements.values();
  }

  buyerOf(one: GcpEntitlement): string {
    return this.context.state.accounts.get(one.accountId)?.buyer ?? '';
  }

  resellerOf(one: GcpEntitlement): string | null {
    return this.context.state.accounts.get(one.accountId)?.resellerParentBillingAccount ?? null;
  }

  /** Google's own view: what GET answers, what it keeps besides, and every message. */
  view(id: string): object {
    const { state, settings } = this.context;
    const one = state.entitlements.get(id) ?? state.deleted.get(id);
    if (!one) throw new ControlError(404, 'entitlement.unknown', `There is no entitlement ${id}.`);
    const account = state.accounts.get(one.accountId);
    return {
      ...one,
      price: priceOf(one, settings()),
      deleted: !state.entitlements.has(id),
      account: account ?? null,
      wire: entitlementWire(one, settings()),
      notifications: state.notificationsOf(id).map(({ body, ...rest }) => ({ ...rest, body: JSON.parse(body) as unknown })),
    };
  }

  /** Changes one accepted quantity behind everybody's back, as a marketplace's own fault would. */
  adjustBilled(change: { externalId: string; dimension: string; hour: string; by: string }): GcpUsage {
    const hour = new Date(Math.floor(Date.parse(change.hour) / HOUR) * HOUR).toISOString();
    const found = this.context.state.usage
      .entries()
      .find(
        ([, usage]) =>
          usage.entitlementId === change.externalId &&
          usage.hour === hour &&
          (usage.metric === change.dimension || usage.metric.endsWith(`/${change.dimension}`)),
      );
    if (!found)
      throw new ControlError(404, 'billed.unknown', `Nothing was accepted for ${change.externalId}, ${change.dimension}, ${hour}.`);
    const [key, usage] = found;
    return this.context.state.usage.put(key, { ...usage, quantity: sumDecimals([usage.quantity, change.by]) });
  }

  private requireFuture(endsAt: string | undefined, startsAt: string | undefined): void {
    const from = Math.max(this.context.clock.nowMs(), startsAt ? Date.parse(startsAt) : 0);
    if (endsAt !== undefined && Date.parse(endsAt) <= from)
      throw new ControlError(400, 'offer.ends', 'endsAt must be after the start of the offer and in the future.');
  }

  private inState(id: string, states: EntitlementState[]): GcpEntitlement {
    const one = this.entitlement(id);
    if (states.includes(one.state)) return one;
    throw new ControlError(409, 'entitlement.state', `The entitlement is ${one.state}; this needs ${states.join(' or ')}.`);
  }

  private entitlement(id: string): GcpEntitlement {
    const one = this.context.state.entitlements.get(id);
    if (!one) throw new ControlError(404, 'entitlement.unknown', `There is no entitlement ${id}.`);
    return one;
  }

  private account(id: string): GcpAccount {
    const one = this.context.state.accounts.get(id);
    if (!one) throw new ControlError(404, 'account.unknown', `There is no account ${id}.`);
    return one;
  }
}
