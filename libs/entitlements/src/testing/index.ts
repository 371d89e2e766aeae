import type { FulfillmentEvent, SubscriptionTruth } from '#marketplaces/core';

/** A purchase of an invented offer as its marketplace might tell it. */
export const truthOf = (over: Partial<SubscriptionTruth> = {}): SubscriptionTruth => ({
  marketplace: 'azure',
  externalSubscriptionId: '5b0f7a52-0000-4000-8000-000000000001',
  aliases: [],
  state: 'pending_fulfillment',
  name: 'Tide archive',
  externalOfferId: 'tide-cells',
  externalPlanId: 'standard',
  quantity: null,
  term: { unit: 'P1M', startsAt: null, endsAt: null },
  endsAt: null,
  purchaser: null,
  beneficiary: null,
  readOnly: false,
  isTest: false,
  isFreeTrial: false,
  supersedes: null,
  refs: {},
  observedAt: new Date('2030-05-01T10:00:00Z'),
  version: null,
  ...over,
});

export const eventOf = (truth: SubscriptionTruth, over: Partial<FulfillmentEvent> = {}): FulfillmentEvent => ({
  kind: 'changed',
  marketplace: truth.marketplace,
  externalSubscriptionId: truth.externalSubscriptionId,
  occurredAt: truth.observedAt,
  truth,
  note: 'a test',
  ...over,
});
