import type { MarketplaceState, Party, RequestedChange, SubscriptionTruth, UsageTraits } from '../index.js';

export interface FakePurchaseInput {
  externalSubscriptionId?: string;
  externalOfferId?: string;
  externalPlanId?: string;
  quantity?: number | null;
  state?: MarketplaceState;
  name?: string | null;
  beneficiary?: Party | null;
  isTest?: boolean;
  readOnly?: boolean;
  term?: SubscriptionTruth['term'];
}

/** `lost`: done, but the answer never arrives. The others happen before anything is done. */
export type FakeFault = 'lost' | 'busy' | 'refused' | 'unauthorised' | 'unknown';
export type FakeOperation =
  | 'startPublisherChange'
  | 'normalise'
  | 'readTruth'
  | 'resolveLanding'
  | 'acknowledge'
  | 'answerChange'
  | 'submitUsage'
  | 'readBack'
  | 'listAll'
  | 'pendingMessages';

export interface FakeBilled {
  externalSubscriptionId: string;
  externalPlanId: string;
  dimension: string;
  hour: string;
  quantity: string;
  receipt: string;
  acceptedAt: Date;
}
export interface FakeChange extends RequestedChange {
  status: 'pending' | 'succeeded' | 'failed';
}

/** Limits of a marketplace without a known name. */
export const TRAITS: UsageTraits = {
  hourKey: 'one_per_hour',
  zeroWanted: false,
  maxQuantity: null,
  maxDecimals: 6,
  batchSize: 25,
  rate: null,
  holdLimitMinutes: 360,
  finalHoldMinutes: 30,
  safeResend: true,
};
