import { randomInt, randomUUID } from 'node:crypto';
import { DAY, SECOND } from '../shared/clock.js';
import { GcpAccounts } from './accounts.js';
import type { GcpContext } from './context.js';
import type { Notifications } from './notifications.js';
import { addMonths, offerEnd, offerExtras, offerName, type OfferRequest, type PendingOffer, termsOf } from './offers.js';
import type { GcpPlan } from './settings.js';
import type { GcpAccount, GcpEntitlement } from './types.js';

export interface PurchaseOptions {
  landingFirst: boolean;
  orderDelay: number;
  /** The product approves its offers by itself (contract gcp §5). */
  autoApprove?: boolean | undefined;
  startsAt?: string | undefined;
  /** Terms of its own (contract gcp §5). */
  privateOffer?: OfferRequest | undefined;
  /** The billing account of the reseller who sells. */
  reseller?: string | undefined;
}

/** Of an offer that is not renewed; a replacement may still be asked for (contract gcp §2: the end "may lie in the past"). */
const ENDS_BY_ITSELF: GcpEntitlement['state'][] = [
  'ENTITLEMENT_ACTIVE',
  'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL',
  'ENTITLEMENT_PENDING_PLAN_CHANGE',
];

/** The state machine of accounts and entitlements (contract gcp §1, §2). Callers check that a move is allowed. */
export class GcpLifecycle {
  readonly accounts: GcpAccounts;

  constructor(
    private readonly context: GcpContext,
    private readonly notifications: Notifications,
  ) {
    this.accounts = new GcpAccounts(context, notifications);
  }

  /** The first purchase of a buyer makes the account; later ones use it again and announce nothing about it. */
  purchase(plan: GcpPlan, buyer: string, options: PurchaseOptions): GcpEntitlement {
    const { state } = this.context;
    const known = state.accounts.values().find((one) => one.buyer === buyer);
    const account = known ?? this.accounts.create(buyer, options.reseller);
    const isPrivate = options.privateOffer ?? options.autoApprove ?? options.startsAt;
    const terms = options.privateOffer ? termsOf(options.privateOffer) : null;
    const now = state.stamp();
    const id = randomUUID();
    const settings = this.context.settings();
    const entitlement: GcpEntitlement = {
      id,
      accountId: account.id,
      plan: plan.id,
      newPendingPlan: null,
      changeAtTermEnd: false,
      state: 'ENTITLEMENT_ACTIVATION_REQUESTED',
      offer: offerName(settings, isPrivate ? 'privateOffers' : 'standardOffers'),
      privateTerms: terms,
      pendingOffer: null,
      offerEndedAt: null,
      termMonths: options.privateOffer?.durationMonths ?? plan.termMonths,
      // Known before an approval only where it is fixed (contract gcp §2, table of states).
      offerEndTime: terms?.endsAt ?? null,
      projectNumber: `${randomInt(100_000, 999_999)}${randomInt(100_000, 999_999)}`,
      reportingIdAt: settings.usageReportingIdFrom === 'requested' ? now : null,
      reportingIdShown: settings.usageReportingIdFrom === 'requested',
      messageToUser: '',
      cancellationReason: '',
      createTime: now,
      updateTime: now,
      activatedAt: null,
      startsAt: options.startsAt ?? null,
      approvedAt: options.autoApprove ? now : null,
      cancelledAt: null,
      billingDisabledAt: null,
      checkError: null,
      reportErrors: 0,
      planHistory: [],
      purchaseEventId: randomUUID(),
      awaitsSignUp: options.landingFirst,
    };
    state.entitlements.put(id, entitlement);
    if (!options.landingFirst) this.announcePurchase(entitlement, options.orderDelay);
    // Without a later start it serves at once; the account's own approval is another matter.
    if (options.autoApprove && !options.startsAt) this.activate(entitlement);
    return entitlement;
  }

  /** ACCOUNT_ACTIVE for a new account, then the request; they share their eventId (contract gcp §3, Delivery). */
  announcePurchase(entitlement: GcpEntitlement, requestDelay: number, accountDelay = 0): void {
    const { state } = this.context;
    const eventId = this.context.settings().sharedEventId ? entitlement.purchaseEventId : undefined;
    this.accounts.announce(entitlement, { eventId, delaySeconds: accountDelay });
    const extras = offerExtras(this.context.settings(), entitlement.termMonths, entitlement.privateTerms);
    // With automatic approval the request is no longer sent (contract gcp §3, caution).
    const [eventType, more] = entitlement.approvedAt
      ? ['ENTITLEMENT_OFFER_ACCEPTED', { ...extras, newOfferStartTime: entitlement.startsAt ?? entitlement.approvedAt }]
      : ['ENTITLEMENT_CREATION_REQUESTED', extras];
    this.notifications.entitlement(entitlement, eventType, { eventId, extras: more, delaySeconds: requestDelay });
    if (entitlement.awaitsSignUp) state.entitlements.put(entitlement.id, { ...entitlement, awaitsSignUp: false });
  }

  /** Cancels everything and asks for sign-up again, without any message (contract gcp §1). */
  reset(account: GcpAccount): void {
    for (const one of this.context.state.entitlements.values()) {
      if (one.accountId === account.id && one.state !== 'ENTITLEMENT_CANCELLED') this.save(cancelled(one, 'account-closed'));
    }
    this.accounts.decideSignUp(account, 'PENDING', '');
  }

  /** In force at once, or on the day of its start: then only that day is shown from now on. */
  approve(entitlement: GcpEntitlement): void {
    const { clock, state } = this.context;
    if (entitlement.startsAt && Date.parse(entitlement.startsAt) > clock.nowMs())
      this.save({
        ...entitlement,
        approvedAt: state.stamp(),
        offerEndTime: offerEnd(new Date(entitlement.startsAt), entitlement.termMonths, entitlement.privateTerms),
        messageToUser: '',
      });
    else this.activate(entitlement);
  }

  private activate(entitlement: GcpEntitlement): void {
    const { clock, state } = this.context;
    const now = clock.now();
    const late = this.context.settings().lateUsageReportingIdSeconds;
    const active = this.save({
      ...entitlement,
      state: 'ENTITLEMENT_ACTIVE',
      messageToUser: '',
      approvedAt: entitlement.approvedAt ?? state.stamp(),
      activatedAt: state.stamp(),
      offerEndTime: offerEnd(now, entitlement.termMonths, entitlement.privateTerms),
      reportingIdAt: entitlement.reportingIdAt ?? new Date(now.getTime() + late * SECOND).toISOString(),
      reportingIdShown: entitlement.reportingIdShown || late === 0,
      planHistory: [{ plan: entitlement.plan, from: now.toISOString() }],
    });
    this.notifications.entitlement(active, 'ENTITLEMENT_ACTIVE', {
      eventId: this.context.settings().sharedEventId ? entitlement.purchaseEventId : undefined,
    });
  }

  /** Another plan, or another private offer on the same plan or another one (contract gcp §5: a change is a replacement offer). */
  requestPlanChange(entitlement: GcpEntitlement, plan: string, atTermEnd: boolean, offer: PendingOffer | null = null): void {
    const asked = this.save({
      ...entitlement,
      state: 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL',
      newPendingPlan: plan,
      changeAtTermEnd: atTermEnd,
      pendingOffer: offer,
    });
    const extras = offerExtras(this.context.settings(), offer?.termMonths ?? asked.termMonths, offer?.terms ?? asked.privateTerms);
    if (offer?.isApproved) {
      // The product approves by itself: no request is sent (contract gcp §3, caution).
      const newOfferStartTime = offer.startsAt ?? asked.updateTime;
      this.notifications.entitlement(asked, 'ENTITLEMENT_OFFER_ACCEPTED', { extras: { ...extras, newOfferStartTime } });
      return this.approvePlanChange(asked);
    }
    this.notifications.entitlement(asked, 'ENTITLEMENT_PLAN_CHANGE_REQUESTED', { extras: { newPlan: plan, ...extras } });
  }

  approvePlanChange(entitlement: GcpEntitlement): void {
    const offer = entitlement.pendingOffer;
    const isLater = offer?.startsAt
      ? Date.parse(offer.startsAt) > this.context.clock.nowMs()
      : entitlement.changeAtTermEnd && !entitlement.offerEndedAt;
    const pendingOffer = offer && { ...offer, isApproved: true };
    if (isLater) this.save({ ...entitlement, state: 'ENTITLEMENT_PENDING_PLAN_CHANGE', messageToUser: '', pendingOffer });
    else this.changePlan(entitlement);
  }

  private changePlan(entitlement: GcpEntitlement): void {
    const plan = entitlement.newPendingPlan ?? entitlement.plan;
    const offer = entitlement.pendingOffer;
    const now = this.context.clock.now();
    const replaced = offer && {
      offer: offer.name,
      privateTerms: offer.terms,
      termMonths: offer.termMonths,
      offerEndTime: offerEnd(now, offer.termMonths, offer.terms),
      offerEndedAt: null,
      pendingOffer: null,
    };
    const changed = this.save({
      ...entitlement,
      ...replaced,
      state: 'ENTITLEMENT_ACTIVE',
      plan,
      newPendingPlan: null,
      changeAtTermEnd: false,
      messageToUser: '',
      planHistory: [...entitlement.planHistory, { plan, from: now.toISOString() }],
    });
    this.notifications.entitlement(changed, 'ENTITLEMENT_PLAN_CHANGED');
  }

  dropPlanChange(entitlement: GcpEntitlement): void {
    const kept = this.save({
      ...entitlement,
      state: 'ENTITLEMENT_ACTIVE',
      newPendingPlan: null,
      pendingOffer: null,
      changeAtTermEnd: false,
      messageToUser: '',
    });
    this.notifications.entitlement(kept, 'ENTITLEMENT_PLAN_CHANGE_CANCELLED');
  }

  /** An offer that is over has no term to wait for: it ends at once (contract gcp §2, "usage-only plans"). */
  cancelAtTermEnd(entitlement: GcpEntitlement): void {
    if (entitlement.offerEndedAt) return this.cancel(entitlement, 'user-cancelled');
    this.notifications.entitlement(
      this.save({ ...entitlement, state: 'ENTITLEMENT_PENDING_CANCELLATION' }),
      'ENTITLEMENT_PENDING_CANCELLATION',
    );
  }

  revertCancellation(entitlement: GcpEntitlement): void {
    this.notifications.entitlement(this.save({ ...entitlement, state: 'ENTITLEMENT_ACTIVE' }), 'ENTITLEMENT_CANCELLATION_REVERTED');
  }

  cancel(entitlement: GcpEntitlement, reason: string): void {
    if (this.context.settings().sendCancelling) this.notifications.entitlement(entitlement, 'ENTITLEMENT_CANCELLING');
    const ended = this.save(cancelled(entitlement, reason));
    // The cancellation's instant is the one the publisher reads (contract gcp §4, Deadlines).
    this.context.state.entitlements.put(ended.id, { ...ended, cancelledAt: ended.updateTime });
    this.notifications.entitlement(ended, 'ENTITLEMENT_CANCELLED');
  }

  /** OFFER_ENDED, and then either a cancellation or list price without an end (contract gcp §3, table; §5). */
  endOffer(entitlement: GcpEntitlement): void {
    const ended = this.save({ ...entitlement, offerEndedAt: this.context.clock.now().toISOString() });
    this.notifications.entitlement(ended, 'ENTITLEMENT_OFFER_ENDED');
    if (ended.privateTerms?.afterEnd === 'cancel') this.cancel(ended, 'expired');
  }

  renew(entitlement: GcpEntitlement): void {
    const renewed = this.save({
      ...entitlement,
      offerEndTime: addMonths(new Date(entitlement.offerEndTime ?? this.context.clock.now()), entitlement.termMonths),
    });
    this.notifications.entitlement(renewed, 'ENTITLEMENT_RENEWED');
  }

  /** From now on GET answers 404 (contract gcp §3). */
  delete(entitlement: GcpEntitlement): void {
    const { state } = this.context;
    const last = { ...entitlement, updateTime: state.stamp() };
    state.entitlements.delete(entitlement.id);
    state.deleted.put(entitlement.id, last);
    this.notifications.entitlement(last, 'ENTITLEMENT_DELETED');
  }

  patch(entitlement: GcpEntitlement, change: Partial<GcpEntitlement>): GcpEntitlement {
    return this.save({ ...entitlement, ...change });
  }

  /** Moves that come with time alone; answers whether there was one. */
  runTimers(): boolean {
    const now = this.context.clock.nowMs();
    let moved = false;
    for (const one of this.context.state.entitlements.values()) {
      const termOver = one.offerEndTime !== null && !one.offerEndedAt && now >= Date.parse(one.offerEndTime);
      const nextStart = one.pendingOffer?.startsAt;
      if (!one.reportingIdShown && one.reportingIdAt && now >= Date.parse(one.reportingIdAt)) this.save({ ...one, reportingIdShown: true });
      else if (one.state === 'ENTITLEMENT_ACTIVATION_REQUESTED' && one.approvedAt && one.startsAt && now >= Date.parse(one.startsAt))
        this.activate(one);
      else if (one.state === 'ENTITLEMENT_PENDING_CANCELLATION' && termOver) this.cancel(one, 'user-cancelled');
      else if (one.state === 'ENTITLEMENT_PENDING_PLAN_CHANGE' && (nextStart ? now >= Date.parse(nextStart) : termOver))
        this.changePlan({ ...one, offerEndTime: addMonths(new Date(one.offerEndTime ?? now), one.termMonths) });
      else if (termOver && ENDS_BY_ITSELF.includes(one.state) && one.privateTerms && one.privateTerms.afterEnd !== 'renew')
        this.endOffer(one);
      else if (one.state === 'ENTITLEMENT_ACTIVE' && termOver) this.renew(one);
      else if (one.cancelledAt && now >= Date.parse(one.cancelledAt) + this.context.settings().deleteAfterDays * DAY) this.delete(one);
      else continue;
      moved = true;
    }
    return moved;
  }

  private save(entitlement: GcpEntitlement): GcpEntitlement {
    return this.context.state.entitlements.put(entitlement.id, { ...entitlement, updateTime: this.context.state.stamp() });
  }
}

function cancelled(entitlement: GcpEntitlement, reason: string): GcpEntitlement {
  return {
    ...entitlement,
    state: 'ENTITLEMENT_CANCELLED',
    newPendingPlan: null,
    pendingOffer: null,
    changeAtTermEnd: false,
    messageToUser: '',
    cancellationReason: reason,
  };
}
