import type {
  FulfillmentEvent,
  InboundRequest,
  InboundVerdict,
  LandingResolution,
  MarketplaceAdapter,
  MarketplaceRefs,
  StoredInbound,
  SubscriptionTruth,
  UsageItemInput,
  UsageItemOutcome,
  UsageWireItem,
} from '#marketplaces/core';
import type { Clock, Logger } from '#platform';
import { AwsApi } from './api.js';
import { doctor } from './doctor.js';
import { verifyInbound } from './inbound.js';
import { resolveLanding } from './landing.js';
import { mergeTruth } from './merge-truth.js';
import { submitUsage } from './metering.js';
import { normalise } from './normalise.js';
import { readRefs, truthOfRefs } from './refs.js';
import { type AwsSettingsInput, awsSettingsSchema } from './settings.js';
import { AWS_USAGE, batchKey, buildUsageItem, deadlines } from './usage-item.js';

export interface AwsAdapterDeps {
  /** Business time; signatures and time-outs use real time. */
  clock: Clock;
  logger?: Logger;
}

export type AwsAdapter = MarketplaceAdapter & Required<Pick<MarketplaceAdapter, 'verifyInbound' | 'mergeTruth'>>;

/** AWS Marketplace (Concurrent Agreements) behind the marketplace port. Throws a zod error where the settings are wrong. */
export function createAwsAdapter(given: AwsSettingsInput, { clock, logger }: AwsAdapterDeps): AwsAdapter {
  const settings = awsSettingsSchema.parse(given);
  const api = new AwsApi(settings, logger);
  return {
    marketplace: 'aws',
    usage: AWS_USAGE,
    verifyInbound: (request: InboundRequest): Promise<InboundVerdict> => Promise.resolve(verifyInbound(request, settings)),
    normalise: (message: StoredInbound): Promise<FulfillmentEvent[]> => Promise.resolve(normalise(message)),
    readTruth: (externalSubscriptionId: string, raw?: MarketplaceRefs): Promise<SubscriptionTruth | null> => {
      const refs = readRefs(raw);
      return Promise.resolve(
        refs?.licenseId === externalSubscriptionId && refs.productCode !== null ? truthOfRefs(refs, clock.now()) : null,
      );
    },
    mergeTruth,
    resolveLanding: (fields: Record<string, string>): Promise<LandingResolution> => resolveLanding(fields, settings, api, clock),
    // AWS is told nothing: the registration is complete when the tenant serves, and that is remembered (contract aws §11.2).
    acknowledge: (truth: SubscriptionTruth): Promise<MarketplaceRefs> => Promise.resolve({ ...truth.refs, registered: true }),
    buildUsageItem: (input: UsageItemInput): UsageWireItem => buildUsageItem(input, settings.region),
    submitUsage: (items: UsageWireItem[]): Promise<UsageItemOutcome[]> => submitUsage(items, settings, api, clock),
    batchKey,
    deadlines,
    doctor: (options) => doctor(settings, api, options),
  };
}
