import { randomInt, randomUUID } from 'node:crypto';
import { DAY, SECOND } from '../shared/clock.js';
import type { GcpContext } from './context.js';
import type { Notifications } from './notifications.js';
import type { GcpPlan } from './settings.js';
import type { ApprovalState, GcpAccount, GcpEntitlement } from './types.js';

export interface PurchaseOptions {
  landingFirst: boolean;
  orderDelay: number;
  /** The product approves its offers by itself (contract gcp §5). */
  autoApprove?: boolean | undefined;
  startsAt?: string | undefined;
}

/** The state machine of accounts and entitlements (contract gcp §1, §2). Callers check that a move is allowed. */
export class GcpLifecycle {
  constructor(
    private readonly context: GcpContext,
    private readonly notifications: Notifications,
  ) {}

  /** The first purchase of a buyer makes the account; later ones use it again and announce nothing about it. */
  purchase(plan: GcpPlan, buyer: string, options: PurchaseOptions): GcpEntitlement {
    const { state } = this.context;
    const known = state.accounts.values().find((one) => one.buyer === buyer);
    const account = known ?? this.createAccount(buyer);
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
      offer: `projects/${randomInt(100_000_000, 999_999_999)}/services/${settings.serviceName}/${options.autoApprove || options.startsAt ? 'privateOffers' : 'standardOffers'}/${randomUUID()}`,
      termMonths: plan.termMonths,
      offerEndTime: null,
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
    const account = state.accounts.get(entitlement.accountId);
    const isNew = !state.notifications
      .values()
      .some((one) => one.accountId === entitlement.accountId && one.eventType === 'ACCOUNT_ACTIVE');
    const eventId = this.context.settings().sharedEventId ? entitlement.purchaseEventId : undefined;
    if (isNew && account) this.notifications.account(account, 'ACCOUNT_ACTIVE', entitlement.id, { eventId, delaySeconds: accountDelay });
    const extras = { newPendingOfferDuration: `P${entitlement.termMonths}M`, newOfferEndTime: '' };
    // With automatic approval the request is no longer sent (contract gcp §3, caution).
    const [eventType, more] = entitlement.approvedAt
      ? ['ENTITLEMENT_OFFER_ACCEPTED', { ...extras, newOfferStartTime: entitlement.startsAt ?? entitlement.approvedAt }]
      : ['ENTITLEMENT_CREATION_REQUESTED', extras];
    this.notifications.entitlement(entitlement, eventType, { eventId, extras: more, delaySeconds: requestDelay });
    if (entitlement.awaitsSignUp) state.entitlements.put(entitlement.id, { ...entitlement, awaitsSignUp: false });
  }

  openAccount(buyer: string): GcpAccount {
    const known = this.context.state.accounts.values().find((one) => one.buyer === buyer);
    if (known) return known;
    const account = this.createAccount(buyer);
    this.notifications.account(account, 'ACCOUNT_ACTIVE', null);
    return account;
  }

  private createAccount(buyer: string): GcpAccount {
    const { state } = this.context;
    const now = state.stamp();
    const id = randomUUID();
    const userIdentity = `1${Array.from({ length: 20 }, () => randomInt(10)).join('')}`;
    return state.accounts.put(id, {
      id,
      buyer,
      userIdentity,
      signUp: 'PENDING',
      reason: '',
      approvalUpdateTime: now,
      createTime: now,
      updateTime: now,
      properties: {},
    });
  }

  decideSignUp(account: GcpAccount, signUp: ApprovalState, reason: string, properties: Record<string, string> = {}): void {
    const now = this.context.state.stamp();
    this.context.state.accounts.put(account.id, {
      ...account,
      signUp,
      reason,
      approvalUpdateTime: now,
      updateTime: now,
      properties: { ...account.properties, ...properties },
    });
  }

  /** Cancels everything and asks for sign-up again, without any message (contract gcp §1). */
  reset(account: GcpAccount): void {
    for (const one of this.context.state.entitlements.values()) {
      if (one.accountId === account.id && one.state !== 'ENTITLEMENT_CANCELLED') this.save(cancelled(one, 'account-closed'));
    }
    this.decideSignUp(account, 'PENDING', '');
  }

  /** In force at once, or on the day of its start: then only that day is shown from now on. */
  approve(entitlement: GcpEntitlement): void {
    const { clock, state } = this.context;
    if (entitlement.startsAt && Date.parse(entitlement.startsAt) > clock.nowMs())
      this.save({ ...entitlement, approvedAt: state.stamp(), messageToUser: '' });
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
      offerEndTime: addMonths(now, entitlement.termMonths),
      reportingIdAt: entitlement.reportingIdAt ?? new Date(now.getTime() + late * SECOND).toISOString(),
      reportingIdShown: entitlement.reportingIdShown || late === 0,
      planHistory: [{ plan: entitlement.plan, from: now.toISOString() }],
    });
    this.notifications.entitlement(active, 'ENTITLEMENT_ACTIVE', {
      eventId: this.context.settings().sharedEventId ? entitlement.purchaseEventId : undefined,
    });
  }

  requestPlanChange(entitlement: GcpEntitlement, plan: string, atTermEnd: boolean): void {
    const asked = this.save({
      ...entitlement,
      state: 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL',
      newPendingPlan: plan,
      changeAtTermEnd: atTermEnd,
    });
    this.notifications.entitlement(asked, 'ENTITLEMENT_PLAN_CHANGE_REQUESTED', {
      extras: { newPlan: plan, newPendingOfferDuration: `P${asked.termMonths}M` },
    });
  }

  approvePlanChange(entitlement: GcpEntitlement): void {
    if (entitlement.changeAtTermEnd) this.save({ ...entitlement, state: 'ENTITLEMENT_PENDING_PLAN_CHANGE', messageToUser: '' });
    else this.changePlan(entitlement);
  }

  private changePlan(entitlement: GcpEntitlement): void {
    const plan = entitlement.newPendingPlan ?? entitlement.plan;
    const changed = this.save({
      ...entitlement,
      state: 'ENTITLEMENT_ACTIVE',
      plan,
      newPendingPlan: null,
      changeAtTermEnd: false,
      messageToUser: '',
      planHistory: [...entitlement.planHistory, { plan, from: this.context.clock.now().toISOString() }],
    });
    this.notifications.entitlement(changed, 'ENTITLEMENT_PLAN_CHANGED');
  }

  dropPlanChange(entitlement: GcpEntitlement): void {
    const kept = this.save({
      ...entitlement,
      state: 'ENTITLEMENT_ACTIVE',
      newPendingPlan: null,
      changeAtTermEnd: false,
      messageToUser: '',
    });
    this.notifications.entitlement(kept, 'ENTITLEMENT_PLAN_CHANGE_CANCELLED');
  }

  cancelAtTermEnd(entitlement: GcpEntitlement): void {
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
      const termOver = one.offerEndTime !== null && now >= Date.parse(one.offerEndTime);
      if (!one.reportingIdShown && one.reportingIdAt && now >= Date.parse(one.reportingIdAt)) this.save({ ...one, reportingIdShown: true });
      else if (one.state === 'ENTITLEMENT_ACTIVATION_REQUESTED' && one.approvedAt && one.startsAt && now >= Date.parse(one.startsAt))
        this.activate(one);
      else if (one.state === 'ENTITLEMENT_PENDING_CANCELLATION' && termOver) this.cancel(one, 'user-cancelled');
      else if (one.state === 'ENTITLEMENT_PENDING_PLAN_CHANGE' && termOver)
        this.changePlan({ ...one, offerEndTime: addMonths(new Date(one.offerEndTime ?? now), one.termMonths) });
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
    changeAtTermEnd: false,
    messageToUser: '',
    cancellationReason: reason,
  };
}

/** The same day of a later month, or its last day. */
function addMonths(from: Date, months: number): string {
  const to = new Date(from);
  to.setUTCDate(1);
  to.setUTCMonth(to.getUTCMonth() + months);
  const lastDay = new Date(Date.UTC(to.getUTCFullYear(), to.getUTCMonth() + 1, 0)).getUTCDate();
  to.setUTCDate(Math.min(from.getUTCDate(), lastDay));
  return to.toISOString();
}
