import { randomInt, randomUUID } from 'node:crypto';
import type { GcpContext } from './context.js';
import type { Notifications, NotifyOptions } from './notifications.js';
import type { ApprovalState, GcpAccount, GcpEntitlement } from './types.js';

/** Buyers' accounts and their sign-up (contract gcp §1). */
export class GcpAccounts {
  constructor(
    private readonly context: GcpContext,
    private readonly notifications: Notifications,
  ) {}

  /** With the account's first purchase only. */
  announce(entitlement: GcpEntitlement, options: NotifyOptions): void {
    const { state, settings } = this.context;
    const account = state.accounts.get(entitlement.accountId);
    const isKnown = state.notifications
      .values()
      .some((one) => one.accountId === entitlement.accountId && one.eventType === 'ACCOUNT_ACTIVE');
    if (isKnown || !account) return;
    if (settings().sendAccountCreation) this.notifications.account(account, 'ACCOUNT_CREATION_REQUESTED', entitlement.id, options);
    this.notifications.account(account, 'ACCOUNT_ACTIVE', entitlement.id, options);
  }

  /** A buyer whose account is there without an order of this product. */
  open(buyer: string): GcpAccount {
    const known = this.context.state.accounts.values().find((one) => one.buyer === buyer);
    if (known) return known;
    const account = this.create(buyer);
    this.notifications.account(account, 'ACCOUNT_ACTIVE', null);
    return account;
  }

  create(buyer: string, reseller?: string): GcpAccount {
    const { state, settings } = this.context;
    const listed = settings().buyers.find((one) => one.name === buyer)?.resellerBillingAccount;
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
      resellerParentBillingAccount: reseller ?? listed ?? null,
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
}
