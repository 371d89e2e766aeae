import { randomUUID } from 'node:crypto';
import { SECOND } from '../shared/clock.js';
import type { AzureContext } from './context.js';
import { type DeliveryOutcomes, needsAnswer } from './deliveries.js';
import { conflict, badRequest, AzureError } from './errors.js';
import type { AzureDelivery, AzureOperation, AzureSubscription, OperationAction } from './types.js';
import type { WebhookAnswer } from './webhook-client.js';

type Decision = NonNullable<AzureOperation['decidedBy']>;

/** Operations and how they end: by our PATCH, by the webhook's answer, by silence, or by a newer one. */
export class Operations implements DeliveryOutcomes {
  constructor(
    private readonly context: AzureContext,
    private readonly onRefused: (operation: AzureOperation) => void,
  ) {}

  create(
    subscription: AzureSubscription,
    action: OperationAction,
    source: AzureOperation['source'],
    status: AzureOperation['status'],
    requested: { planId?: string; quantity?: number | null } = {},
  ): AzureOperation {
    const { state, clock } = this.context;
    const id = randomUUID();
    const now = clock.now().toISOString();
    return state.operations.put(id, {
      id,
      activityId: randomUUID(),
      subscriptionId: subscription.id,
      offerId: subscription.offerId,
      publisherId: subscription.publisherId,
      planId: requested.planId ?? subscription.planId,
      quantity: requested.quantity === undefined ? subscription.quantity : requested.quantity,
      action,
      source,
      status,
      errorStatusCode: '',
      errorMessage: '',
      createdAt: now,
      sequence: state.nextSequence('operation'),
      acceptAt: null,
      decidedBy: status === 'Succeeded' ? 'marketplace' : null,
      decidedAt: status === 'Succeeded' ? now : null,
    });
  }

  pending(operation: AzureOperation): boolean {
    return operation.status === 'InProgress' || operation.status === 'NotStarted';
  }

  /** PATCH of an operation (contract azure §3, "Ack op"). */
  patch(operation: AzureOperation, status: unknown, requestId: string): void {
    const observed = this.context.settings().quirks === 'observed';
    if (observed && operation.source === 'Partner') throw new AzureError(500, { message: 'An error has occurred.' });
    if (status !== 'Success' && status !== 'Failure') {
      if (observed) return;
      throw badRequest('status', "The status must be 'Success' or 'Failure'.");
    }
    if (operation.status === 'Conflict') throw conflict(requestId);
    if (!needsAnswer(operation.action) && !this.asks(operation) && status === 'Failure') {
      // Notify-only: who cannot accept a reinstatement deletes the subscription (contract azure §0.5).
      throw badRequest('status', `${operation.action} is a notice and cannot be refused; delete the subscription instead.`);
    }
    if (!this.pending(operation)) {
      const isSame = (operation.status === 'Succeeded') === (status === 'Success');
      if (isSame) return;
      throw conflict(requestId);
    }
    if (status === 'Success') this.succeed(operation, 'patch');
    else if (this.context.settings().patchFailure === 'ignored' && needsAnswer(operation.action)) return;
    else this.fail(operation, 'patch', '400', 'The publisher refused the change.');
  }

  /** The older reading of Reinstate: nothing happens before the publisher has patched it. */
  private asks(operation: AzureOperation): boolean {
    return operation.action === 'Reinstate' && this.context.settings().reinstate === 'patch';
  }

  succeed(operation: AzureOperation, by: Decision): void {
    const { state, clock } = this.context;
    const subscription = state.subscriptions.get(operation.subscriptionId);
    if (!subscription) return;
    const now = clock.now().toISOString();
    if (this.asks(operation)) {
      if (subscription.status !== 'Suspended') return this.fail(operation, 'marketplace', '400', 'The subscription is not Suspended.');
      state.subscriptions.put(subscription.id, { ...subscription, status: 'Subscribed', suspendedAt: null, lastModifiedAt: now });
    }
    if (needsAnswer(operation.action)) {
      if (subscription.status !== 'Subscribed') return this.fail(operation, 'marketplace', '400', 'The subscription is not Subscribed.');
      this.supersedeOlder(operation, now);
      const isOtherPlan = operation.planId !== subscription.planId;
      state.subscriptions.put(subscription.id, {
        ...subscription,
        planId: operation.planId,
        quantity: operation.quantity,
        lastModifiedAt: now,
        planHistory: isOtherPlan ? [...subscription.planHistory, { planId: operation.planId, from: now }] : subscription.planHistory,
      });
    }
    state.operations.put(operation.id, {
      ...operation,
      status: 'Succeeded',
      errorStatusCode: '',
      errorMessage: '',
      acceptAt: null,
      decidedBy: by,
      decidedAt: now,
    });
  }

  fail(operation: AzureOperation, by: Decision, errorStatusCode: string, errorMessage: string): void {
    const { state, clock } = this.context;
    state.operations.put(operation.id, {
      ...operation,
      status: 'Failed',
      errorStatusCode,
      errorMessage,
      acceptAt: null,
      decidedBy: by,
      decidedAt: clock.now().toISOString(),
    });
    if (by === 'webhook_refused' || by === 'patch') this.onRefused(operation);
  }

  /** Silence after the webhook's 200 (or no answer in time) accepts the change. */
  acceptSilent(): boolean {
    const { state, clock, settings } = this.context;
    const now = clock.nowMs();
    const due = state.operations
      .values()
      .filter((one) => this.pending(one) && one.acceptAt !== null && Date.parse(one.acceptAt) <= now)
      .sort((a, b) => a.sequence - b.sequence);
    for (const { id } of due) {
      const current = state.operations.get(id);
      if (!current || !this.pending(current)) continue;
      const isQuestion = needsAnswer(current.action);
      if (isQuestion && settings().silence === 'fails') this.fail(current, 'silence', '408', 'The publisher did not decide in time.');
      else this.succeed(current, isQuestion ? 'silence' : 'marketplace');
    }
    return due.length > 0;
  }

  /** A cancelled subscription has no changes left to decide. */
  cancelPending(subscriptionId: string): void {
    const { state, clock } = this.context;
    for (const operation of state.operationsOf(subscriptionId)) {
      if (this.pending(operation)) {
        state.operations.put(operation.id, {
          ...operation,
          status: 'Conflict',
          acceptAt: null,
          decidedBy: 'newer_operation',
          decidedAt: clock.now().toISOString(),
        });
      }
    }
  }

  answered(delivery: AzureDelivery, answer: WebhookAnswer, sentAtMs: number): void {
    const operation = this.context.state.operations.get(delivery.operationId);
    if (!operation) return;
    const isChange = needsAnswer(operation.action);
    const accepted = answer.status !== null && answer.status >= 200 && answer.status < 300;
    const refused = answer.status !== null && answer.status >= 400 && answer.status < 500;
    // The same operation answered 200 after a refusal is an acceptance (contract azure §4, "Event verification").
    const changedMind = isChange && accepted && operation.decidedBy === 'webhook_refused';
    if ((!this.pending(operation) && !changedMind) || this.asks(operation)) return;
    if (isChange && refused) {
      this.fail(operation, 'webhook_refused', String(answer.status), 'The publisher refused the change.');
      return;
    }
    if (!accepted && !(isChange && answer.kind === 'timed_out')) return;
    if (operation.acceptAt !== null && !changedMind) return;
    const acceptAt = new Date(sentAtMs + this.context.settings().answerWindowSeconds * SECOND).toISOString();
    this.context.state.operations.put(operation.id, { ...operation, status: 'InProgress', acceptAt, decidedBy: null, decidedAt: null });
  }

  gaveUp(delivery: AzureDelivery): void {
    const operation = this.context.state.operations.get(delivery.operationId);
    if (operation && this.pending(operation)) this.fail(operation, 'webhook_gave_up', '500', 'The webhook could not be delivered.');
  }

  private supersedeOlder(winner: AzureOperation, now: string): void {
    const { state } = this.context;
    for (const other of state.operationsOf(winner.subscriptionId)) {
      if (other.sequence < winner.sequence && this.pending(other) && needsAnswer(other.action)) {
        state.operations.put(other.id, { ...other, status: 'Conflict', acceptAt: null, decidedBy: 'newer_operation', decidedAt: now });
      }
    }
  }
}
