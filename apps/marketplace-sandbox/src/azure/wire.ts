import { API_VERSION, type AzureOperation, type AzureSubscription, MARKETPLACE_APP_ID } from './types.js';
import type { AzurePlan, AzureOffer, AzureSettings } from './settings.js';

export { API_VERSION, MARKETPLACE_APP_ID };

const NEVER = '0001-01-01T00:00:00';

/** Get, List items and the inner object of Resolve (contract azure §3). */
export function subscriptionWire(one: AzureSubscription, settings: AzureSettings): Record<string, unknown> {
  // The running service drops the quantity of a cancelled per-seat subscription.
  const quantity = settings.quirks === 'observed' && one.status === 'Unsubscribed' ? {} : { quantity: one.quantity };
  return {
    id: one.id,
    publisherId: one.publisherId,
    offerId: one.offerId,
    name: one.name,
    saasSubscriptionStatus: one.status,
    planId: one.planId,
    ...quantity,
    beneficiary: one.beneficiary,
    purchaser: one.purchaser,
    term: { ...one.term, chargeDuration: null },
    autoRenew: one.autoRenew,
    isTest: one.isTest,
    isFreeTrial: one.isFreeTrial,
    allowedCustomerOperations: one.allowedCustomerOperations,
    sandboxType: one.isCsp ? 'Csp' : 'None',
    sessionMode: 'None',
    created: one.createdAt,
    lastModified: one.lastModifiedAt ?? NEVER,
  };
}

export function resolvedWire(one: AzureSubscription, settings: AzureSettings): Record<string, unknown> {
  return {
    id: one.id,
    subscriptionName: one.name,
    offerId: one.offerId,
    planId: one.planId,
    quantity: quantityText(one.quantity),
    subscription: subscriptionWire(one, settings),
  };
}

/** `quantity` is text, a number, empty or null depending on place (contract azure §3, parsing traps). */
function quantityText(quantity: number | null): string {
  return quantity === null ? '' : String(quantity);
}

export function operationWire(one: AzureOperation): Record<string, unknown> {
  return {
    id: one.id,
    activityId: one.activityId,
    subscriptionId: one.subscriptionId,
    offerId: one.offerId,
    publisherId: one.publisherId,
    planId: one.planId,
    quantity: quantityText(one.quantity),
    action: one.action,
    timeStamp: one.createdAt.replace(/\.\d+Z$/, ''),
    status: one.status,
    errorStatusCode: one.errorStatusCode,
    errorMessage: one.errorMessage,
  };
}

export function planWire(plan: AzurePlan, offer: AzureOffer): Record<string, unknown> {
  const meters = Object.entries(plan.meters);
  return {
    planId: plan.id,
    displayName: plan.displayName,
    isPrivate: plan.isPrivate,
    description: plan.description,
    ...(plan.isPricePerSeat ? { minQuantity: plan.minQuantity ?? 1, maxQuantity: plan.maxQuantity ?? 1_000_000 } : {}),
    hasFreeTrials: plan.hasFreeTrials,
    isPricePerSeat: plan.isPricePerSeat,
    isStopSell: plan.isStopSell,
    market: plan.market,
    planComponents: {
      recurrentBillingTerms: [
        {
          currency: plan.currency,
          price: plan.price,
          termUnit: plan.termUnit,
          termDescription: termDescription(plan.termUnit),
          meteredQuantityIncluded: meters
            .filter(([, meter]) => meter.included > 0)
            .map(([id, meter]) => ({ dimensionId: id, units: String(meter.included) })),
        },
      ],
      meteringDimensions: meters.map(([id, meter]) => {
        const dimension = offer.dimensions.find((one) => one.id === id);
        return {
          id,
          currency: plan.currency,
          pricePerUnit: meter.pricePerUnit,
          unitOfMeasure: dimension?.unitOfMeasure ?? '',
          displayName: dimension?.displayName ?? id,
        };
      }),
    },
    sourceOffers: plan.privateOfferIds.map((externalId) => ({ externalId })),
  };
}

function termDescription(termUnit: string): string {
  return termUnit === 'P1M' ? '1 month' : `${termUnit.slice(1, -1)} year${termUnit === 'P1Y' ? '' : 's'}`;
}

const WEBHOOK_STATUS: Record<AzureOperation['action'], string> = {
  ChangePlan: 'InProgress',
  ChangeQuantity: 'InProgress',
  Reinstate: 'InProgress',
  Renew: 'Succeeded',
  Suspend: 'Succeeded',
  Unsubscribe: 'Succeeded',
  Subscribe: 'Succeeded',
};

/** Top level: requested values; nested `subscription`: as it stood before a change (contract azure §4). */
export function webhookBody(operation: AzureOperation, nested: AzureSubscription, settings: AzureSettings): string {
  const fraction = String(operation.sequence % 10_000).padStart(4, '0');
  const { quantity: _quantity, ...inner } = subscriptionWire(nested, { ...settings, quirks: 'documented' });
  const sourceField = settings.quirks === 'observed' ? 'operationRequestedSource' : 'operationRequestSource';
  return JSON.stringify({
    id: operation.id,
    activityId: operation.activityId,
    publisherId: operation.publisherId,
    offerId: operation.offerId,
    planId: operation.planId,
    // Official samples show 1 here and null inside for plans that are not per seat.
    quantity: operation.quantity ?? 1,
    subscriptionId: operation.subscriptionId,
    timeStamp: operation.createdAt.replace(/Z$/, `${fraction}Z`),
    action: operation.action,
    status: WEBHOOK_STATUS[operation.action],
    [sourceField]: operation.source,
    // The official Suspend sample still reads Subscribed inside.
    subscription: {
      ...inner,
      quantity: nested.quantity,
      ...(operation.action === 'Suspend' ? { saasSubscriptionStatus: 'Subscribed' } : {}),
    },
    purchaseToken: null,
  });
}
