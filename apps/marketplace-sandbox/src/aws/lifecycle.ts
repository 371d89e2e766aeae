import { SECOND } from '../shared/clock.js';
import { ControlError } from '../shared/http.js';
import type { AwsContext } from './context.js';
import type { Deliveries } from './deliveries.js';
import {
  advisoryDetail,
  agreementRole,
  amendedDetail,
  type BillAdjustment,
  billDetail,
  createdDetail,
  endedDetail,
  licenseDetail,
} from './events.js';
import type { AwsProduct } from './settings.js';
import { awsId, newLicenseId } from './state.js';
import type { AwsAgreement, EndStatus, Handover, Intent } from './types.js';

export interface PurchaseInput {
  product: AwsProduct;
  buyerAccountId: string;
  order: AwsAgreement['order'];
  startsAt: string | undefined;
  endsAt: string | undefined;
  /** Null for a direct offer. */
  resellerAccountId: string | null;
  /** Days; null for none. */
  trialDays: number | null;
}

const VERSIONS_KEPT = 20;

export type EndOrder = 'ended_first' | 'deprovisioned_first';

/** An agreement and its licence, and the events they cause (contract aws §4). */
export class Lifecycle {
  constructor(
    private readonly context: AwsContext,
    private readonly deliveries: Deliveries,
    /** Asks for a prompt delivery. */
    private readonly kick: () => void,
  ) {}

  purchase(input: PurchaseInput): AwsAgreement {
    const settings = this.context.settings();
    const id = awsId('agmt', 25);
    const now = this.now();
    const agreement: AwsAgreement = {
      id,
      productCode: input.product.code,
      productId: input.product.id,
      offerId: awsId('offer', 13),
      buyerAccountId: input.buyerAccountId,
      proposerAccountId: input.resellerAccountId ?? settings.sellerAccountId,
      resaleAuthorizationId: input.resellerAccountId ? awsId('resaleauthz', 14) : null,
      intent: 'NEW',
      previousAgreementId: null,
      handover: null,
      initialAgreementId: id,
      status: 'ACTIVE',
      licenseId: newLicenseId(),
      order: input.order,
      isFreeTrial: input.trialDays !== null,
      ...(input.trialDays === null ? {} : { trialDays: input.trialDays }),
      acceptedAt: now,
      startsAt: input.startsAt ?? now,
      endsAt: input.endsAt ?? null,
      createdAt: now,
      resolvedAt: null,
      licensedAt: null,
      endedAt: null,
      deprovisionedAt: null,
      updatedAt: now,
      autoRenews: null,
    };
    return this.open(agreement, false);
  }

  /**
   * A renewal or a replacement is a new agreement with a new licence (contract aws §0.5). With a later start it is signed now, and
   * the old one goes on until then.
   */
  succeed(
    old: AwsAgreement,
    intent: Exclude<Intent, 'NEW'>,
    options: { startsAt?: string; endsAt?: string; namesPrevious: boolean; handover: Handover },
  ): AwsAgreement {
    const now = this.now();
    const next: AwsAgreement = {
      ...old,
      id: awsId('agmt', 25),
      offerId: awsId('offer', 13),
      intent,
      previousAgreementId: old.id,
      handover: options.handover,
      status: 'ACTIVE',
      licenseId: newLicenseId(),
      order: 'licence_first',
      isFreeTrial: false,
      acceptedAt: now,
      startsAt: options.startsAt ?? now,
      endsAt: options.endsAt ?? null,
      createdAt: now,
      resolvedAt: null,
      licensedAt: null,
      endedAt: null,
      deprovisionedAt: null,
      updatedAt: now,
      autoRenews: null,
    };
    return this.open(next, options.namesPrevious);
  }

  /** License Updated: the licence is active from its start on. Sent again it changes nothing. */
  license(agreement: AwsAgreement): AwsAgreement {
    if (agreement.status !== 'ACTIVE') throw new ControlError(409, 'agreement.state', `The agreement is ${agreement.status}.`);
    const licensed = this.save({ ...agreement, licensedAt: agreement.licensedAt ?? this.now() });
    this.deliveries.enqueue(agreement.id, 'License Updated', 'Manufacturer', licenseDetail(this.context, licensed));
    this.kick();
    return licensed;
  }

  /** The buyer has come to the landing page and the seller has asked who it is. */
  resolved(agreement: AwsAgreement): void {
    const isFirst = agreement.resolvedAt === null;
    const resolved = isFirst ? this.save({ ...agreement, resolvedAt: this.now() }) : agreement;
    if (isFirst && resolved.order === 'landing_first') this.licenseIfDue(resolved);
  }

  amend(agreement: AwsAgreement, change: { endsAt?: string; autoRenewalEnabled?: boolean }): AwsAgreement {
    const autoRenews = change.autoRenewalEnabled ?? agreement.autoRenews;
    const amended = this.save({ ...agreement, endsAt: change.endsAt ?? agreement.endsAt, autoRenews });
    this.deliveries.enqueue(
      amended.id,
      'Purchase Agreement Amended',
      agreementRole(amended),
      amendedDetail(this.context, amended, change.autoRenewalEnabled),
    );
    this.kick();
    // An opt-out of renewal leaves the licence as it is.
    return change.autoRenewalEnabled === undefined && amended.licensedAt !== null ? this.license(amended) : amended;
  }

  advise(agreement: AwsAgreement, kind: 'Issued' | 'Resolved'): void {
    this.deliveries.enqueue(
      agreement.id,
      `Purchase Agreement Advisory ${kind}`,
      'Manufacturer',
      advisoryDetail(this.context, agreement, kind),
    );
    this.kick();
  }

  /** What AWS made of a request of the seller to correct an invoice; told to the proposer (contract aws §4.1). */
  adjustBill(agreement: AwsAgreement, bill: BillAdjustment): void {
    this.deliveries.enqueue(
      agreement.id,
      `Purchase Agreement Billing Adjustment ${bill.outcome === 'completed' ? 'Completed' : 'Failed'}`,
      'Proposer',
      billDetail(agreement, bill),
    );
    this.kick();
  }

  /** AWS's two accounts of the end differ in the order; the second event comes seconds later (contract aws §4.3). */
  end(agreement: AwsAgreement, status: EndStatus, order: EndOrder, deprovision = true): AwsAgreement {
    const firstMs = this.context.clock.nowMs();
    const secondMs = firstMs + this.context.settings().endGapSeconds * SECOND;
    const endedMs = order === 'ended_first' ? firstMs : secondMs;
    const deprovisionedMs = order === 'ended_first' ? secondMs : firstMs;
    const ended = this.save({
      ...agreement,
      status,
      endedAt: new Date(endedMs).toISOString(),
      deprovisionedAt: deprovision ? new Date(deprovisionedMs).toISOString() : null,
    });
    this.deliveries.enqueue(ended.id, 'Purchase Agreement Ended', agreementRole(ended), endedDetail(ended), endedMs);
    if (deprovision)
      this.deliveries.enqueue(ended.id, 'License Deprovisioned', 'Manufacturer', licenseDetail(this.context, ended), deprovisionedMs);
    this.kick();
    return ended;
  }

  /** Moves that come with time alone; answers whether there was one. */
  runTimers(): boolean {
    const nowMs = this.context.clock.nowMs();
    let moved = false;
    for (const one of this.context.state.agreements.values()) {
      if (one.status !== 'ACTIVE') continue;
      if (one.endsAt !== null && Date.parse(one.endsAt) <= nowMs) this.runOut(one, nowMs);
      else if (one.licensedAt === null && (one.order === 'licence_first' || one.resolvedAt !== null) && Date.parse(one.startsAt) <= nowMs)
        this.start(one);
      else continue;
      moved = true;
    }
    return moved;
  }

  private open(agreement: AwsAgreement, namesPrevious: boolean): AwsAgreement {
    this.save(agreement);
    const tellCreated = (): void =>
      this.deliveries.enqueue(
        agreement.id,
        'Purchase Agreement Created',
        agreementRole(agreement),
        createdDetail(this.context, agreement, namesPrevious),
      );
    const isNow = agreement.order === 'licence_first' && Date.parse(agreement.startsAt) <= this.context.clock.nowMs();
    const order = isNow ? agreement.handover?.order : undefined;
    if (order === 'old_first') this.endPredecessor(agreement);
    if (order !== 'licence_first') tellCreated();
    this.kick();
    const opened = agreement.order === 'licence_first' ? this.licenseIfDue(agreement) : agreement;
    if (order === 'licence_first') tellCreated();
    return opened;
  }

  /** A future-dated agreement is licensed on its start (contract aws §7); the timer sees to it. */
  private licenseIfDue(agreement: AwsAgreement): AwsAgreement {
    const isDue =
      agreement.status === 'ACTIVE' && agreement.licensedAt === null && Date.parse(agreement.startsAt) <= this.context.clock.nowMs();
    return isDue ? this.start(agreement) : agreement;
  }

  /** The licence comes, and what the agreement renews or replaces ends. */
  private start(agreement: AwsAgreement): AwsAgreement {
    if (agreement.handover?.order === 'old_first') this.endPredecessor(agreement);
    const licensed = this.license(agreement);
    this.endPredecessor(agreement);
    return licensed;
  }

  private endPredecessor(agreement: AwsAgreement): void {
    const old = agreement.previousAgreementId === null ? undefined : this.context.state.agreements.get(agreement.previousAgreementId);
    if (!agreement.handover || old?.status !== 'ACTIVE') return;
    this.end(old, agreement.intent === 'RENEW' ? 'RENEWED' : 'REPLACED', 'ended_first', agreement.handover.deprovision);
  }

  /** An agreement whose time is up has expired, unless a renewal is signed: then that one's start ends it, or it ends for that one. */
  private runOut(agreement: AwsAgreement, nowMs: number): void {
    const next = this.context.state.agreements
      .values()
      .find((one) => one.previousAgreementId === agreement.id && one.handover && one.status === 'ACTIVE');
    if (!next) this.end(agreement, 'EXPIRED', 'ended_first');
    else if (Date.parse(next.startsAt) > nowMs) this.endPredecessor(next);
    else this.start(next);
  }

  private save(agreement: AwsAgreement): AwsAgreement {
    const { agreements, agreementVersions } = this.context.state;
    const saved = agreements.put(agreement.id, { ...agreement, updatedAt: this.now() });
    agreementVersions.put(saved.id, [...(agreementVersions.get(saved.id) ?? []), saved].slice(-VERSIONS_KEPT));
    return saved;
  }

  private now(): string {
    return this.context.clock.now().toISOString();
  }
}
