import { HOUR, SECOND } from '../shared/clock.js';
import { sumDecimals } from '../shared/exact-json.js';
import { ControlError } from '../shared/http.js';
import type { Entitlements } from './channels/entitlements.js';
import type { AwsContext } from './context.js';
import { type BillAdjustment, envelope } from './events.js';
import { licenseArn, licenseArnInEvents } from './licence-arn.js';
import type { EndOrder, Lifecycle } from './lifecycle.js';
import { finalWindowClosesMs } from './metering.js';
import { postEvent, type TargetAnswer } from './target-client.js';
import type { AcceptedRecord, AwsAgreement, Entitle, HandoverOrder, RegistrationForm } from './types.js';

export interface PurchaseRequest {
  productCode?: string;
  buyerAccountId?: string;
  order?: AwsAgreement['order'];
  startsAt?: string;
  endsAt?: string;
  cppo?: boolean | { resellerAccountId: string };
  freeTrial?: boolean | { days: number };
}

export interface Purchase {
  licenseId: string;
  licenseArn: string;
  agreementId: string;
  accountId: string;
  registration: RegistrationForm;
}

export interface EventRequest {
  detailType: string;
  detail: unknown;
  secret: 'right' | 'wrong' | 'none';
  id?: string;
  time?: string;
  source?: string;
}

/** What the buyer and AWS's billing do; used by the control surface and the storefront. */
export class AwsDesk {
  constructor(
    private readonly context: AwsContext,
    private readonly lifecycle: Lifecycle,
    private readonly entitlements: Entitlements,
  ) {}

  purchase(request: PurchaseRequest): Purchase {
    const settings = this.context.settings();
    const product =
      request.productCode === undefined
        ? settings.products[0]
        : settings.products.find((one) => one.code === request.productCode && one.contract === 'concurrent');
    if (!product) throw new ControlError(404, 'product.unknown', `There is no product ${request.productCode ?? 'in aws.products'}.`);
    const buyerAccountId = request.buyerAccountId ?? settings.buyers[0]?.accountId;
    if (buyerAccountId === undefined)
      throw new ControlError(400, 'buyer.unknown', 'Name a buyerAccountId, or list buyers in the settings.');
    if (
      request.endsAt !== undefined &&
      Date.parse(request.endsAt) <= Date.parse(request.startsAt ?? this.context.clock.now().toISOString())
    ) {
      throw new ControlError(400, 'term.invalid', 'The agreement would end before it starts.');
    }
    const resellerAccountId = this.resellerOf(request.cppo);
    const agreement = this.lifecycle.purchase({
      product,
      buyerAccountId,
      order: request.order ?? 'licence_first',
      startsAt: isoText(request.startsAt),
      endsAt: isoText(request.endsAt),
      resellerAccountId,
      trialDays: this.trialDaysOf(request.freeTrial),
    });
    return this.register(agreement.id);
  }

  /** "Set up your account": every click brings a fresh token. */
  register(id: string): Purchase {
    const agreement = this.agreement(id);
    const { state, clock } = this.context;
    const settings = this.context.settings();
    const token = state.mintToken(id, new Date(clock.nowMs() + settings.tokenLifetimeSeconds * SECOND).toISOString());
    return {
      licenseId: agreement.licenseId,
      licenseArn: licenseArn(settings, agreement.licenseId),
      agreementId: id,
      accountId: agreement.buyerAccountId,
      registration: {
        url: settings.registrationUrl,
        method: 'POST',
        fields: {
          'x-amzn-marketplace-token': token,
          ...(agreement.isFreeTrial ? { 'x-amzn-marketplace-offer-type': 'free-trial' } : {}),
          ...(settings.registrationHints
            ? { 'x-amzn-marketplace-agreement-id': id, 'x-amzn-marketplace-product-id': agreement.productId }
            : {}),
        },
      },
    };
  }

  /** A later start for a form that counts in whole hours; nothing for now. */
  inHours(text: string | undefined): string | undefined {
    const hours = Number(text ?? 0);
    return Number.isInteger(hours) && hours > 0 && hours <= 8_784
      ? new Date(this.context.clock.nowMs() + hours * HOUR).toISOString()
      : undefined;
  }

  cancel(id: string, order: EndOrder): void {
    this.lifecycle.end(this.active(id), 'CANCELLED', order);
  }

  expire(id: string, order: EndOrder): void {
    this.lifecycle.end(this.active(id), 'EXPIRED', order);
  }

  succeed(
    id: string,
    intent: 'RENEW' | 'REPLACE',
    options: { startsAt?: string; endsAt?: string; namesPrevious?: boolean; deprovision: boolean; order: HandoverOrder },
  ): Purchase {
    const next = this.lifecycle.succeed(this.active(id), intent, {
      handover: { order: options.order, deprovision: options.deprovision },
      startsAt: isoText(options.startsAt),
      endsAt: isoText(options.endsAt),
      // The contract knows previousAgreementId for a renewal only (contract aws §4.1).
      namesPrevious: options.namesPrevious ?? intent === 'RENEW',
    });
    return this.register(next.id);
  }

  amend(id: string, change: { endsAt?: string; autoRenewalEnabled?: boolean }): void {
    this.lifecycle.amend(this.active(id), { ...change, endsAt: isoText(change.endsAt) });
  }

  license(id: string): void {
    this.lifecycle.license(this.agreement(id));
  }

  /** What the licence's contract grants; told as License Updated (contract aws §3, §4.1). */
  entitle(id: string, grant: Entitle): void {
    const agreement = this.active(id);
    const { productCode, licenseId: holder, buyerAccountId: accountId } = agreement;
    this.entitlements.grant({ productCode, holder, accountId, ...grant });
    if (agreement.licensedAt !== null) this.lifecycle.license(agreement);
  }

  advise(id: string, kind: 'Issued' | 'Resolved'): void {
    this.lifecycle.advise(this.agreement(id), kind);
  }

  adjustBill(id: string, bill: BillAdjustment): void {
    this.lifecycle.adjustBill(this.agreement(id), bill);
  }

  list(): AwsAgreement[] {
    return this.context.state.agreements.values();
  }

  /** AWS's own view, with how each event was answered. */
  view(id: string): object {
    const agreement = this.agreement(id);
    const closesMs = finalWindowClosesMs(this.context, agreement);
    return {
      ...agreement,
      licenseArn: licenseArn(this.context.settings(), agreement.licenseId),
      licenseArnInEvents: licenseArnInEvents(this.context.settings(), agreement.licenseId),
      finalWindowClosesAt: closesMs === undefined ? null : new Date(closesMs).toISOString(),
      deliveries: this.context.state.deliveriesOf(id).map(({ body, ...delivery }) => ({ ...delivery, body: JSON.parse(body) as unknown })),
    };
  }

  /** Sends an event of the caller's making, once, and tells what came back. */
  async send(request: EventRequest): Promise<TargetAnswer & { event: object }> {
    const settings = this.context.settings();
    const agreementId = (request.detail as { agreement?: { id?: unknown } } | null)?.agreement?.id;
    const made = envelope(
      settings,
      request.detailType,
      request.time ?? this.context.clock.now().toISOString(),
      typeof agreementId === 'string' ? agreementId : undefined,
      request.detail,
    );
    const event = {
      ...made,
      ...(request.id === undefined ? {} : { id: request.id }),
      ...(request.source === undefined ? {} : { source: request.source }),
    };
    const secret = { right: settings.webhookSecret, wrong: `${settings.webhookSecret}-wrong`, none: undefined }[request.secret];
    return { event, ...(await postEvent(settings.webhookUrl, JSON.stringify(event), secret, settings.targetTimeoutSeconds * SECOND)) };
  }

  /** Changes one accepted quantity behind everybody's back, as a marketplace's own fault would. */
  adjustBilled(adjustment: { externalId: string; dimension: string; hour: string; by: string }): AcceptedRecord {
    const { usage } = this.context.state;
    const hour = new Date(Math.floor(Date.parse(adjustment.hour) / HOUR) * HOUR).toISOString();
    const found = usage
      .entries()
      .find(([, one]) => one.licenseId === adjustment.externalId && one.dimension === adjustment.dimension && one.hour === hour);
    if (!found)
      throw new ControlError(404, 'billed.unknown', `Nothing was accepted for ${adjustment.externalId}, ${adjustment.dimension}, ${hour}.`);
    return usage.put(found[0], { ...found[1], quantity: sumDecimals([found[1].quantity, adjustment.by]) });
  }

  private trialDaysOf(freeTrial: PurchaseRequest['freeTrial']): number | null {
    if (!freeTrial) return null;
    const days = freeTrial === true ? 14 : freeTrial.days;
    const reading = this.context.settings().trialDays;
    const [least, most] = reading.split('-').map(Number) as [number, number];
    if (days < least || days > most)
      throw new ControlError(400, 'trial.length', `A free trial lasts ${least} to ${most} days; set aws.trialDays for the other reading.`);
    return days;
  }

  private resellerOf(cppo: PurchaseRequest['cppo']): string | null {
    if (!cppo) return null;
    const { resellers } = this.context.settings();
    const named = cppo === true ? resellers[0] : resellers.find((one) => one.accountId === cppo.resellerAccountId);
    if (!named) throw new ControlError(404, 'reseller.unknown', 'There is no such reseller in aws.resellers.');
    return named.accountId;
  }

  private active(id: string): AwsAgreement {
    const agreement = this.agreement(id);
    if (agreement.status === 'ACTIVE') return agreement;
    throw new ControlError(409, 'agreement.state', `The agreement is ${agreement.status}; this needs ACTIVE.`);
  }

  private agreement(id: string): AwsAgreement {
    const agreement = this.context.state.agreements.get(id);
    if (!agreement) throw new ControlError(404, 'agreement.unknown', `There is no agreement ${id}.`);
    return agreement;
  }
}

function isoText(instant: string | undefined): string | undefined {
  return instant === undefined ? undefined : new Date(instant).toISOString();
}
