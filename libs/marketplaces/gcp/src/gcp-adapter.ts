import type {
  FulfillmentEvent,
  LandingResolution,
  MarketplaceAdapter,
  MarketplaceRefs,
  PulledMessage,
  RecallRefs,
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
import { MetricTypes } from './metric-types.js';
import { Procurement } from './procurement.js';
import { Puller } from './pull.js';
import { verifyPush } from './push.js';
import type { GcpSettings, Http } from './settings.js';
import { SigningKeys } from './signing-keys.js';
import { subscriptionChecks } from './subscription-checks.js';
import { toldStartOf, withToldStart } from './told-start.js';
import { signUpOf } from './truth.js';
import { batchKey, buildUsageItem, deadlines, gateOf, gcpUsage } from './usage-item.js';

export interface GcpAdapterDeps {
  /** Must allow the hosts of `procurementUrl`, `serviceControlUrl`, `serviceManagementUrl`, `signUpKeysUrl` and `oidcKeysUrl`. */
  http: Http;
  /** Business time; tokens, signatures and time-outs use real time. */
  clock: Clock;
  logger?: Logger;
  /** A token with the scope cloud-platform; by default Google's application default credentials. */
  accessToken?: () => Promise<string>;
}

/** Messages are pulled or pushed, the truth is read, and there is no read-back of usage. */
export type GcpAdapter = Required<
  Omit<
    MarketplaceAdapter,
    | 'startPublisherChange'
    | 'pendingMessages'
    | 'readPublisherChange'
    | 'readPrivateOffers'
    | 'verifyInbound'
    | 'pull'
    | 'handshake'
    | 'mergeTruth'
    | 'askTruth'
    | 'keyChange'
    | 'decisionAnswer'
    | 'readBack'
  >
> &
  Pick<MarketplaceAdapter, 'verifyInbound' | 'pull'>;

/** Google Cloud Marketplace behind the marketplace port. */
export function createGcpAdapter(settings: GcpSettings, deps: GcpAdapterDeps): GcpAdapter {
  const { http, clock, logger } = deps;
  const auth = authHeaderOf(settings, deps.accessToken);
  const api = new ApiClient(http, auth, logger);
  const keys = new SigningKeys(settings.signUpKeysUrl, http);
  const procurement = new Procurement(settings, api, clock, (name) =>
    logger?.warn({ name }, 'google lists an entitlement that cannot be read; left out'),
  );
  const types = new MetricTypes(settings, api, logger);
  const changes = new GcpChanges(procurement);
  const metering = new GcpMetering(settings, api, procurement);
  return {
    marketplace: 'gcp',
    usage: gcpUsage(settings.safeResend),
    normalise: (message: StoredInbound, recall: RecallRefs): Promise<FulfillmentEvent[]> =>
      normalise(message, procurement, settings.providerId, recall),
    readTruth: async (externalSubscriptionId: string, refs?: MarketplaceRefs): Promise<SubscriptionTruth | null> => {
      const found = await procurement.entitlementWithBuyer(externalSubscriptionId);
      return found && withToldStart(found, toldStartOf(refs)).truth;
    },
    resolveLanding: (fields: Record<string, string>, recall?: RecallRefs): Promise<LandingResolution> =>
      resolveLanding(fields, settings, keys, { procurement, recall }, logger),
    acknowledge: (truth: SubscriptionTruth, { tenantId }: { tenantId: string }): Promise<void> => changes.acknowledge(truth, tenantId),
    approveBuyer: (buyerAccountId: string): Promise<void> => changes.approveBuyer(buyerAccountId),
    rejectPurchase: (truth: SubscriptionTruth, wish: { reason: string; alsoBuyer: boolean }): Promise<void> => changes.reject(truth, wish),
    tellBuyer: (externalSubscriptionId: string, message: string): Promise<void> => changes.tellBuyer(externalSubscriptionId, message),
    answerChange: (truth: SubscriptionTruth, change: RequestedChange, answer: { accept: boolean; reason?: string }): Promise<void> =>
      changes.answerChange(truth, change, answer),
    ...inbound(settings, http, logger),
    buildUsageItem: (input: UsageItemInput): UsageWireItem => buildUsageItem(input, settings.serviceName, types.typeOf),
    prepareUsage: () => types.load(),
    checkService: (purchase) => metering.checkService(purchase, clock.now()),
    submitUsage: (items: UsageWireItem[]): Promise<UsageItemOutcome[]> => metering.submit(items),
    batchKey,
    gateOf,
    deadlines,
    // No quota is published; a public handler limits itself to 15 calls in 15 minutes (contract gcp §2, errors).
    listing: { minIntervalMs: 900_000, lagMs: 600_000 },
    listAll: async function* (): AsyncIterable<SubscriptionTruth> {
      for await (const entitlement of procurement.list()) yield entitlement.truth;
    },
    listWaitingBuyers: async function* (): AsyncIterable<{ buyerAccountId: string }> {
      for await (const account of procurement.accounts()) if (signUpOf(account) === 'PENDING') yield { buyerAccountId: account.id };
    },
    doctor: (options) => doctor(settings, auth, procurement, keys, types, options),
    bootChecks: () => subscriptionChecks(settings),
  };
}

/** A subscription is pulled from or pushes, never both. */
function inbound(settings: GcpSettings, http: Http, logger: Logger | undefined): Pick<MarketplaceAdapter, 'verifyInbound' | 'pull'> {
  const { push } = settings;
  if (push) {
    const oidcKeys = new SigningKeys(settings.oidcKeysUrl, http);
    return { verifyInbound: (request) => verifyPush(request, settings, push, oidcKeys) };
  }
  return {
    pull: async (sink: (message: PulledMessage) => Promise<void>): Promise<{ stop(): Promise<void> }> => {
      const puller = new Puller(settings, sink, logger);
      puller.open();
      return { stop: () => puller.stop() };
    },
  };
}
