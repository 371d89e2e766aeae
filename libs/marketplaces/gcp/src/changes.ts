import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, type RequestedChange, type SubscriptionTruth } from '#marketplaces/core';
import type { components } from '../../../../openapi/generated/gcp-procurement.js';
import { cutToBytes } from './liberal.js';
import type { Procurement } from './procurement.js';
import { type Entitlement, type EntitlementState, gcpRefsSchema, signUpOf } from './truth.js';

type Schemas = components['schemas'];

const MAX_REASON_BYTES = 256;
/** An approval shows after some seconds. */
const SETTLE_MS = 5_000;

/** The calls that change something at Google. None is documented as idempotent: what counts is what a re-read says. */
export class GcpChanges {
  constructor(private readonly procurement: Procurement) {}

  /** Approves the buyer's account first: an entitlement of an account that waits is refused (contract gcp §2, errors). */
  async acknowledge(truth: SubscriptionTruth, tenantId: string): Promise<void> {
    const before = notEnded(await this.procurement.entitlement(truth.externalSubscriptionId));
    if (before.accountId) await this.approveAccount(before.accountId, tenantId);
    if (!waitsForApproval(before)) return;
    const body: Schemas['ApproveEntitlementRequest'] = {};
    const failure = await this.procurement.attempt('approveEntitlement', `/entitlements/${encodeURIComponent(before.id)}:approve`, body);
    if (!failure) return;
    // A second approval is refused like a premature one: only the state tells them apart.
    const now = notEnded(await rereadOr(failure, () => this.procurement.entitlement(before.id)));
    if (!waitsForApproval(now)) return;
    throw precondition(failure);
  }

  /** The sign-up is over, though no tenant exists yet. */
  approveBuyer(accountId: string): Promise<void> {
    return this.approveAccount(accountId, null);
  }

  private async approveAccount(accountId: string, tenantId: string | null): Promise<void> {
    if (signUpOf(await this.procurement.account(accountId)) !== 'PENDING') return;
    const body: Schemas['ApproveAccountRequest'] = {
      approvalName: 'signup',
      reason: 'The buyer has signed up.',
      ...(tenantId === null ? {} : { properties: { tenantId } }),
    };
    const failure = await this.procurement.attempt('approveAccount', `/accounts/${encodeURIComponent(accountId)}:approve`, body);
    if (!failure) return;
    const account = await rereadOr(failure, () => this.procurement.account(accountId));
    if (signUpOf(account) === 'APPROVED') return;
    throw precondition(failure);
  }

  /** Refuses an order that waits: Google removes it and charges nobody (contract gcp §2). */
  async reject({ externalSubscriptionId, refs }: SubscriptionTruth, wish: { reason: string; alsoBuyer: boolean }): Promise<void> {
    const reason = cutToBytes(wish.reason, MAX_REASON_BYTES);
    const waits = async (read: () => Promise<Entitlement | null>): Promise<Entitlement | null> => {
      const now = await read();
      if (!now || now.truth.state === 'ended') return null;
      if (now.state === 'ENTITLEMENT_ACTIVATION_REQUESTED') return now;
      throw new MarketplaceRefusal('gcp.entitlement_in_force', `the entitlement is ${now.state}: only its buyer can end it`);
    };
    const read = (): Promise<Entitlement | null> => this.procurement.entitlement(externalSubscriptionId);
    const before = await waits(read);
    if (before) {
      const body: Schemas['RejectEntitlementRequest'] = { reason };
      const failure = await this.procurement.attempt('rejectEntitlement', `/entitlements/${encodeURIComponent(before.id)}:reject`, body);
      const still = await waits(() => (failure ? rereadOr(failure, read) : read()));
      if (still) throw failure ? precondition(failure) : new MarketplaceBusy('the rejection is not shown yet', SETTLE_MS);
    }
    const accountId = before?.accountId ?? gcpRefsSchema.safeParse(refs).data?.accountId;
    if (wish.alsoBuyer && accountId) await this.rejectAccount(accountId, reason);
  }

  private async rejectAccount(accountId: string, reason: string): Promise<void> {
    if (signUpOf(await this.procurement.account(accountId)) !== 'PENDING') return;
    const body: Schemas['RejectAccountRequest'] = { approvalName: 'signup', reason };
    const failure = await this.procurement.attempt('rejectAccount', `/accounts/${encodeURIComponent(accountId)}:reject`, body);
    if (!failure || signUpOf(await rereadOr(failure, () => this.procurement.account(accountId))) !== 'PENDING') return;
    throw precondition(failure);
  }

  /** Google takes it only while it waits for us, and clears it with the next state (contract gcp §2). */
  async tellBuyer(entitlementId: string, messageToUser: string): Promise<void> {
    const isTold = (now: Entitlement | null): boolean => !now || !WAITS.includes(now.state) || now.messageToUser === messageToUser;
    if (isTold(await this.procurement.entitlement(entitlementId))) return;
    const path = `/entitlements/${encodeURIComponent(entitlementId)}`;
    const body: Pick<Schemas['Entitlement'], 'messageToUser'> = { messageToUser };
    const failure = await this.procurement.attempt('patchEntitlement', path, body, { updateMask: 'messageToUser' });
    if (!failure || isTold(await rereadOr(failure, () => this.procurement.entitlement(entitlementId)))) return;
    throw failure;
  }

  async answerChange(truth: SubscriptionTruth, change: RequestedChange, answer: { accept: boolean; reason?: string }): Promise<void> {
    const to = change.toExternalPlanId;
    if (change.kind !== 'plan' || !to) throw new MarketplaceRefusal('gcp.change_unknown', 'Google asks about plans only');
    const before = notEnded(await this.procurement.entitlement(truth.externalSubscriptionId));
    if (this.isSettled(before, to, answer.accept)) return;
    const path = `/entitlements/${encodeURIComponent(before.id)}`;
    const yes: Schemas['ApprovePlanChangeRequest'] = { pendingPlanName: to };
    const no: Schemas['RejectPlanChangeRequest'] = {
      pendingPlanName: to,
      reason: cutToBytes(answer.reason || 'The change is refused.', MAX_REASON_BYTES),
    };
    const failure = answer.accept
      ? await this.procurement.attempt('approvePlanChange', `${path}:approvePlanChange`, yes)
      : await this.procurement.attempt('rejectPlanChange', `${path}:rejectPlanChange`, no);
    if (!failure) return;
    const now = notEnded(await rereadOr(failure, () => this.procurement.entitlement(before.id)));
    if (this.isSettled(now, to, answer.accept)) return;
    throw precondition(failure);
  }

  /** False while the very change waits for us. Throws where our answer comes too late: the truth decides then. */
  private isSettled(now: Entitlement, to: string, accept: boolean): boolean {
    if (now.state === 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL') {
      if (now.newPendingPlan === to) return false;
      throw new MarketplaceRefusal('gcp.change_superseded', `another change waits: to ${now.newPendingPlan ?? 'no plan'}`);
    }
    const approved = (now.state === 'ENTITLEMENT_PENDING_PLAN_CHANGE' && now.newPendingPlan === to) || now.plan === to;
    if (approved === accept) return true;
    throw accept
      ? new MarketplaceRefusal('gcp.change_dropped', 'the change is no longer asked for')
      : new MarketplaceRefusal('gcp.change_in_force', 'the change was approved already and cannot be asked back');
  }
}

const WAITS: readonly EntitlementState[] = ['ENTITLEMENT_ACTIVATION_REQUESTED', 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL'];

/** A start time is shown only after an approval: approved by a person or automatically, and waiting for its day. */
const waitsForApproval = (e: Entitlement): boolean => e.state === 'ENTITLEMENT_ACTIVATION_REQUESTED' && e.newOfferStartsAt === null;

function notEnded(entitlement: Entitlement | null): Entitlement {
  if (!entitlement) throw new MarketplaceRefusal('gcp.not_found', 'the marketplace knows no such entitlement');
  if (entitlement.truth.state === 'ended') throw new MarketplaceRefusal('gcp.entitlement_ended', 'the entitlement is cancelled');
  return entitlement;
}

/** "Precondition check failed." although the state allows it: the views of Google's services differ for a while. */
function precondition(failure: Error): Error {
  return failure instanceof MarketplaceRefusal && (failure.httpStatus === 400 || failure.httpStatus === 409)
    ? new MarketplaceBusy(failure.message, SETTLE_MS)
    : failure;
}

/** A failed re-read leaves us with the first failure; after a lost answer that is `unknown`. */
async function rereadOr<T>(failure: Error, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (failure instanceof MarketplaceUnknown && (error instanceof MarketplaceBusy || error instanceof MarketplaceRefusal)) throw failure;
    throw error;
  }
}
