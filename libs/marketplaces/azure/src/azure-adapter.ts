import type {
  FulfillmentEvent,
  Handshake,
  InboundRequest,
  InboundVerdict,
  LandingResolution,
  MarketplaceAdapter,
  MarketplaceRefs,
  PulledMessage,
  PublisherChange,
  PublisherChangeProgress,
  ReadBackLine,
  ReadBackQuery,
  RecallRefs,
  RequestedChange,
  StoredInbound,
  SubscriptionTruth,
  UsageItemInput,
  UsageItemOutcome,
  UsageWireItem,
} from '#marketplaces/core';
import type { Clock, Logger } from '#platform';
import { AccessTokens, type Http } from './access-token.js';
import { ApiClient } from './api-client.js';
import { AzureChanges } from './changes.js';
import { doctor } from './doctor.js';
import { pendingMessages, verifyInbound } from './inbound.js';
import { resolveLanding } from './landing.js';
import { ARM, ARM_API_VERSION, MANAGED_SOURCE, ManagedApps, verifyManaged } from './managed-apps.js';
import { AzureMetering } from './metering.js';
import { normalise } from './normalise.js';
import { AzurePublisherChanges } from './publisher-changes.js';
import { AzureReader } from './reader.js';
import { reinstateHandshake } from './reinstate.js';
import { type AzureSettingsInput, azureSettingsSchema } from './settings.js';
import { SigningKeys } from './signing-keys.js';
import { AZURE_USAGE, buildUsageItem, deadlines } from './usage-item.js';

export interface AzureAdapterDeps {
  /** Must allow the hosts of `apiUrl` and `authorityUrl`. */
  http: Http;
  /** Business time; tokens, signatures and time-outs use real time. */
  clock: Clock;
  logger?: Logger;
}

/** An Azure adapter has all that the port knows. */
export type AzureAdapter = Required<
  Omit<
    MarketplaceAdapter,
    | 'mergeTruth'
    | 'askTruth'
    | 'pull'
    | 'bootChecks'
    | 'keyChange'
    | 'rejectPurchase'
    | 'listWaitingBuyers'
    | 'prepareUsage'
    | 'checkService'
    | 'tellBuyer'
    | 'approveBuyer'
  >
>;

/** The Azure Marketplace behind the marketplace port. Throws a zod error where the settings are wrong. */
export function createAzureAdapter(given: AzureSettingsInput, deps: AzureAdapterDeps): AzureAdapter {
  const settings = azureSettingsSchema.parse(given);
  const { http, clock, logger } = deps;
  const tokens = new AccessTokens(settings, http);
  const keys = new SigningKeys(settings, http);
  const api = new ApiClient(settings, http, tokens, logger);
  const reader = new AzureReader(settings, api, clock, (id) =>
    logger?.warn({ externalSubscriptionId: id }, 'azure lists a purchase that cannot be read; left out'),
  );
  const changes = new AzureChanges(settings, api, reader);
  const publisher = new AzurePublisherChanges(settings, api, reader);
  const metering = new AzureMetering(settings, api);
  const armTokens = new AccessTokens(settings, http, ARM);
  const signInTokens = settings.signIn ? new AccessTokens({ ...settings, ...settings.signIn }, http, settings.signIn.clientId) : null;
  const managed = new ManagedApps(settings, new ApiClient({ apiUrl: settings.armUrl }, http, armTokens, logger, ARM_API_VERSION), clock);
  return {
    marketplace: 'azure',
    usage: AZURE_USAGE,
    // Two endpoints, two proofs: an address with a secret is the managed applications' (contract azure §7), and no token helps it.
    verifyInbound: (request: InboundRequest): Promise<InboundVerdict> =>
      'sig' in request.query ? Promise.resolve(verifyManaged(request, settings)) : verifyInbound(request, settings, keys),
    normalise: (message: StoredInbound, recall: RecallRefs): Promise<FulfillmentEvent[]> =>
      message.source === MANAGED_SOURCE ? managed.normalise(message, recall) : normalise(message, reader, clock),
    handshake: (message: StoredInbound): Handshake | null => reinstateHandshake(message, settings, api, reader),
    readTruth: (externalSubscriptionId: string, refs?: MarketplaceRefs): Promise<SubscriptionTruth | null> =>
      ManagedApps.isOne(refs) ? managed.read(externalSubscriptionId, refs) : reader.subscription(externalSubscriptionId),
    resolveLanding: (fields: Record<string, string>): Promise<LandingResolution> => resolveLanding(fields, settings, api, clock),
    // A managed application is billed from its deployment on: nobody waits for our word.
    acknowledge: async (truth: SubscriptionTruth): Promise<void> =>
      ManagedApps.isOne(truth.refs) ? undefined : changes.acknowledge(truth),
    answerChange: (truth: SubscriptionTruth, change: RequestedChange, answer: { accept: boolean }): Promise<void> =>
      changes.answerChange(truth, change, answer.accept),
    startPublisherChange: (truth: SubscriptionTruth, change: PublisherChange): Promise<PublisherChangeProgress> =>
      publisher.start(truth, change),
    readPublisherChange: (id: string, change: PublisherChange, operationId: string | null): Promise<PublisherChangeProgress> =>
      publisher.read(id, change, operationId),
    decisionAnswer: ({ accept, reason }): { status: number; body?: unknown } =>
      // Refusing by a 4xx is what works in practice; refusing by PATCH alone was ignored (contract azure §4).
      accept ? { status: 200, body: {} } : { status: 400, body: { code: 'ChangeRefused', message: reason ?? 'The change is refused.' } },
    buildUsageItem: (input: UsageItemInput): UsageWireItem => buildUsageItem(input),
    submitUsage: (items: UsageWireItem[]): Promise<UsageItemOutcome[]> => metering.submit(items),
    batchKey: (): string => 'azure',
    gateOf: (): string => '',
    deadlines,
    readBack: (query: ReadBackQuery): Promise<ReadBackLine[]> => metering.readBack(query),
    // No limits are documented for List; "no polling of it more than needed" (contract azure §3, throttling).
    listing: { minIntervalMs: 3_600_000, lagMs: 600_000 },
    listAll: (): AsyncIterable<SubscriptionTruth> => reader.list(),
    pendingMessages: async (id: string, refs?: MarketplaceRefs): Promise<PulledMessage[]> =>
      ManagedApps.isOne(refs) ? [] : pendingMessages(id, await reader.pendingOperations(id)),
    // The API of subscriptions does not know a managed application.
    readPrivateOffers: async (id: string, planId: string, refs?: MarketplaceRefs): Promise<string[]> =>
      ManagedApps.isOne(refs) ? [] : reader.privateOffers(id, planId),
    doctor: (options) => doctor(settings, { tokens, api, keys, reader, armTokens, signInTokens }, options),
  };
}
