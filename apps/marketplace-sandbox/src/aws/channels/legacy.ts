import { randomBytes } from 'node:crypto';
import { SECOND } from '../../shared/clock.js';
import { ControlError } from '../../shared/http.js';
import type { AwsContext } from '../context.js';
import { productOf } from '../settings.js';
import { awsId } from '../state.js';
import type { Entitle, LegacyCustomer, RegistrationForm } from '../types.js';
import type { Entitlements } from './entitlements.js';
import type { Topics } from './topics.js';

export interface LegacyPurchase {
  customerIdentifier: string;
  accountId: string;
  productCode: string;
  offerId: string;
  registration: RegistrationForm;
}

/** Listings from before concurrent agreements: what their customers do, and what SNS says of it (contract aws §4.2). */
export class LegacyDesk {
  constructor(
    private readonly context: AwsContext,
    private readonly topics: Topics,
    private readonly entitlements: Entitlements,
  ) {}

  purchase(request: {
    productCode: string;
    buyerAccountId?: string;
    freeTrial?: boolean;
    pays?: boolean;
    entitlements?: Entitle[];
  }): LegacyPurchase {
    const settings = this.context.settings();
    const product = productOf(settings, request.productCode);
    if (product?.contract !== 'legacy')
      throw new ControlError(404, 'product.unknown', `There is no legacy listing ${request.productCode}.`);
    const accountId = request.buyerAccountId ?? settings.buyers[0]?.accountId;
    if (accountId === undefined) throw new ControlError(400, 'buyer.unknown', 'Name a buyerAccountId, or list buyers in the settings.');
    const customer: LegacyCustomer = {
      customerIdentifier: randomBytes(9).toString('base64url').replace(/[-_]/g, 'x').slice(0, 11),
      accountId,
      productCode: product.code,
      offerId: awsId('offer', 13),
      isFreeTrial: request.freeTrial ?? false,
      status: 'pending',
      subscribedAt: null,
      unsubscribePendingAt: null,
      closesAt: null,
    };
    this.save(customer);
    for (const one of request.entitlements ?? []) this.grant(customer, one);
    if (request.entitlements?.length) this.tellEntitlements(customer);
    if (request.pays !== undefined) this.act(customer.customerIdentifier, request.pays ? 'subscribe-success' : 'subscribe-fail', undefined);
    return this.register(customer.customerIdentifier);
  }

  /** "Set up your account": a fresh token. */
  register(customerIdentifier: string): LegacyPurchase {
    const { accountId, productCode, offerId, isFreeTrial } = this.customer(customerIdentifier);
    const { registrationUrl, tokenLifetimeSeconds } = this.context.settings();
    const expiresAt = new Date(this.context.clock.nowMs() + tokenLifetimeSeconds * SECOND).toISOString();
    const fields = {
      'x-amzn-marketplace-token': this.context.state.mintToken(customerIdentifier, expiresAt),
      ...(isFreeTrial ? { 'x-amzn-marketplace-offer-type': 'free-trial' } : {}),
    };
    return { customerIdentifier, accountId, productCode, offerId, registration: { url: registrationUrl, method: 'POST', fields } };
  }

  list(): LegacyCustomer[] {
    return this.context.state.legacy.values();
  }

  customer(id: string): LegacyCustomer {
    const found = this.context.state.legacy.get(id);
    if (!found) throw new ControlError(404, 'customer.unknown', `There is no customer ${id}.`);
    return found;
  }

  act(id: string, action: string, entitle: Entitle | undefined): void {
    const customer = this.customer(id);
    const now = this.context.clock.now().toISOString();
    switch (action) {
      // Also another time, with a new offer, when an agreement-based offer is accepted; and again inside the hour of an end.
      case 'subscribe-success': {
        const offerId = customer.subscribedAt === null ? customer.offerId : awsId('offer', 13);
        const open = this.save({
          ...customer,
          offerId,
          status: 'subscribed',
          subscribedAt: now,
          unsubscribePendingAt: null,
          closesAt: null,
        });
        return this.tell(open, 'subscribe-success', true);
      }
      case 'subscribe-fail':
        return this.tell(this.save({ ...customer, status: 'failed' }), 'subscribe-fail', true);
      case 'unsubscribe': {
        if (customer.status !== 'subscribed') throw new ControlError(409, 'customer.state', `The customer is ${customer.status}.`);
        const closesAt = new Date(this.context.clock.nowMs() + this.context.settings().finalWindowSeconds * SECOND).toISOString();
        return this.tell(
          this.save({ ...customer, status: 'unsubscribing', unsubscribePendingAt: now, closesAt }),
          'unsubscribe-pending',
          false,
        );
      }
      case 'entitle':
        if (!entitle) throw new ControlError(400, 'body.invalid', 'Send dimension and value.');
        this.grant(customer, entitle);
        return this.tellEntitlements(customer);
      case 'end-contract':
        this.entitlements.revoke(id, entitle?.lagSeconds);
        return this.tellEntitlements(customer);
      case 'tell':
        return this.tellEntitlements(customer);
      default:
        throw new ControlError(404, 'action.unknown', `There is no action ${action}.`);
    }
  }

  /** An hour after unsubscribe-pending it is over, unless the customer came back. */
  runTimers(): boolean {
    const now = this.context.clock.now().toISOString();
    const due = this.list().filter((one) => one.status === 'unsubscribing' && one.closesAt !== null && one.closesAt <= now);
    for (const one of due) this.tell(this.save({ ...one, status: 'unsubscribed' }), 'unsubscribe-success', false);
    return due.length > 0;
  }

  private grant(customer: LegacyCustomer, one: Entitle): void {
    const { productCode, accountId, customerIdentifier: holder } = customer;
    this.entitlements.grant({ productCode, accountId, holder, ...one });
  }

  /** The flag is a text; offer-identifier only where a subscription begins or fails (contract aws §4.2). */
  private tell(customer: LegacyCustomer, action: string, isStart: boolean): void {
    this.topics.publish(this.topics.arnOf('subscription', customer.productCode), {
      action,
      'customer-identifier': customer.customerIdentifier,
      'product-code': customer.productCode,
      ...(isStart ? { 'offer-identifier': customer.offerId, isFreeTrialTermPresent: String(customer.isFreeTrial) } : {}),
    });
  }

  /** The same for new, upgraded, renewed and expired. The docs' own sample has a blank before the identifier. */
  private tellEntitlements(customer: LegacyCustomer): void {
    this.topics.publish(this.topics.arnOf('entitlement', customer.productCode), {
      action: 'entitlement-updated',
      'customer-identifier': ` ${customer.customerIdentifier}`,
      'product-code': customer.productCode,
    });
  }

  private save(customer: LegacyCustomer): LegacyCustomer {
    return this.context.state.legacy.put(customer.customerIdentifier, customer);
  }
}
