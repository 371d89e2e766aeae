import type {
  FulfillmentEvent,
  LandingResolution,
  MarketplaceAdapter,
  PulledMessage,
  RequestedChange,
  StoredInbound,
  SubscriptionTruth,
  UsageItemInput,
  UsageItemOutcome,
  UsageWireItem,
} from '#marketplaces/core';
import type { Clock, Logger } from '#platform';
import { authHeaderOf } from './access-token.js';
import { ApiClient } from './api-client.js';
import { GcpChanges } from './changes.js';
import { doctor } from './doctor.js';
import { resolveLanding } from './landing.js';
import { GcpMetering } from './metering.js';
import { normalise } from './normalise.js';
import { Procurement } from './procurement.js';
import { Puller } from './pull.js';
import type { GcpSettings, Http } from './settings.js';
import { SigningKeys } from './signing-keys.js';
import { batchKey, buildUsageItem, deadlines, gcpUsage } from './usage-item.js';

export interface GcpAdapterDeps {
  /** Must allow the hosts of `procurementUrl`, `serviceControlUrl` and `signUpKeysUrl`. */
  http: Http;
  /** Business time; tokens, signatures and time-outs use real time. */
  clock: Clock;
  logger?: Logger;
  /** A token with the scope cloud-platform; by default Google's application default credentials. */
  accessToken?: () => Promise<string>;
}

/** Messages are pulled, the truth is read, and there is no read-back of usage. */
export type GcpAdapter = Required<Omit<MarketplaceAdapter, 'verifyInbound' | 'handshake' | 'mergeTruth' | 'decisionAnswer' | 'readBack'>>;

/** Google Cloud Marketplace behind the marketplace port. */
export function createGcpAdapter(settings: GcpSettings, deps: GcpAdapterDeps): GcpAdapter {
  const { http, clock, logger } = deps;
  const auth = authHeaderOf(settings, deps.accessToken);
  const api = new ApiClient(http, auth, logger);
  const keys = new SigningKeys(settings, http);
  const procurement = new Procurement(settings, api, clock, (name) =>
    logger?.warn({ name }, 'google lists an entitlement that cannot be read; left out'),
  );
  const changes = new GcpChanges(procurement);
  const metering = new GcpMetering(settings, api, procurement);
  return {
    marketplace: 'gcp',
    usage: gcpUsage(settings.safeResend ?? true),
    normalise: (message: StoredInbound): Promise<FulfillmentEvent[]> => normalise(message, procurement, settings.providerId),
    readTruth: async (externalSubscriptionId: string): Promise<SubscriptionTruth | null> =>
      (await procurement.entitlement(externalSubscriptionId))?.truth ?? null,
    resolveLanding: (fields: Record<string, string>): Promise<LandingResolution> =>
      resolveLanding(fields, settings, keys, procurement, logger),
    acknowledge: (truth: SubscriptionTruth, { tenantId }: { tenantId: string }): Promise<void> => changes.acknowledge(truth, tenantId),
    answerChange: (truth: SubscriptionTruth, change: RequestedChange, answer: { accept: boolean; reason?: string }): Promise<void> =>
      changes.answerChange(truth, change, answer),
    pull: async (sink: (message: PulledMessage) => Promise<void>): Promise<{ stop(): Promise<void> }> => {
      const puller = new Puller(settings, sink, logger);
      puller.open();
      return { stop: () => puller.stop() };
    },
    buildUsageItem: (input: UsageItemInput): UsageWireItem => buildUsageItem(input, settings.serviceName),
    submitUsage: (items: UsageWireItem[]): Promise<UsageItemOutcome[]> => metering.submit(items),
    batchKey,
    deadlines,
    listAll: async function* (): AsyncIterable<SubscriptionTruth> {
      for await (const entitlement of procurement.list()) yield entitlement.truth;
    },
    doctor: () => doctor(settings, auth, procurement, keys),
  };
}
