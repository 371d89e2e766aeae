import type {
  FulfillmentEvent,
  Handshake,
  InboundRequest,
  InboundVerdict,
  LandingResolution,
  ListingTraits,
  MarketplaceAdapter,
  MarketplaceRefs,
  RecallRefs,
  StoredInbound,
  SubscriptionTruth,
  UsageItemInput,
  UsageItemOutcome,
  UsageWireItem,
} from '#marketplaces/core';
import type { Clock, GuardedHttp, Logger } from '#platform';
import { AgreementReader } from './agreements/agreement-reader.js';
import { AgreementTruth } from './agreements/agreement-truth.js';
import { AwsApi } from './api.js';
import { AwsClients } from './clients.js';
import { doctor } from './doctor.js';
import { EntitlementReader } from './entitlements.js';
import { withGrants } from './grants.js';
import { verifyInbound } from './inbound.js';
import { resolveLanding } from './landing.js';
import { mergeTruth } from './merge-truth.js';
import { submitUsage } from './metering.js';
import { keyChangeOf } from './legacy/key-change.js';
import { legacyIdOf, legacyTruth, readLegacyRefs } from './legacy/legacy-refs.js';
import { normaliseStored } from './normalise-stored.js';
import { QueuePuller, type Sink } from './queue.js';
import { deriveArn, readRefs, truthOfRefs } from './refs.js';
import { type AwsSettings, type AwsSettingsInput, awsSettingsSchema } from './settings.js';
import { SnsCertificates } from './sns/certificates.js';
import { snsHandshake } from './sns/confirm.js';
import { AWS_USAGE, batchKey, buildUsageItem, deadlines, gateOf } from './usage-item.js';

export interface AwsAdapterDeps {
  /** Business time; signatures and time-outs use real time. */
  clock: Clock;
  /** The one way out, the SDK's too. Its allow-list needs `awsHosts(settings)`. */
  http: GuardedHttp;
  logger?: Logger;
}

export type AwsAdapter = MarketplaceAdapter & Required<Pick<MarketplaceAdapter, 'verifyInbound' | 'mergeTruth' | 'handshake'>>;

/** Our list goes through all pages; a search may show a change later than its message. */
const AWS_LISTING: ListingTraits = { minIntervalMs: 3_600_000, lagMs: 900_000 };

/** AWS Marketplace (Concurrent Agreements) behind the marketplace port. Throws a zod error where the settings are wrong. */
export function createAwsAdapter(given: AwsSettingsInput, { clock, http, logger }: AwsAdapterDeps): AwsAdapter {
  const settings = awsSettingsSchema.parse(given);
  const clients = new AwsClients(settings, http);
  const api = new AwsApi(settings, clients, logger);
  const entitlements = new EntitlementReader(settings, clients, logger);
  const agreementReader = settings.agreements && new AgreementReader(settings, clients, logger);
  const agreements = agreementReader && new AgreementTruth(settings, agreementReader, clock, logger);
  const hasty = { ...settings, timeoutsMs: { ...settings.timeoutsMs, read: settings.timeoutsMs.help } };
  const help = settings.agreements && new AgreementTruth(settings, new AgreementReader(hasty, clients, logger), clock, logger);
  const keyChange = keyChangeOf(settings);
  const certificates = settings.sns && new SnsCertificates(http, settings.sns.endpoint);
  const readTruth = async (externalSubscriptionId: string, raw?: MarketplaceRefs): Promise<SubscriptionTruth | null> => {
    const truth = toldTruth(externalSubscriptionId, raw, clock.now());
    return truth?.incomplete ? withGrants(truth, { entitlements, clock }) : truth;
  };
  return {
    marketplace: 'aws',
    usage: AWS_USAGE,
    verifyInbound: (request: InboundRequest): Promise<InboundVerdict> => verifyInbound(request, settings, certificates),
    normalise: (message: StoredInbound, recall?: RecallRefs): Promise<FulfillmentEvent[]> =>
      normaliseStored(message, { settings, entitlements, clock, agreements }, recall),
    handshake: (message: StoredInbound): Handshake | null => snsHandshake(message, { settings, clients, clock, logger }),
    readTruth,
    ...(agreements
      ? {
          askTruth: async (externalSubscriptionId: string, raw?: MarketplaceRefs): Promise<SubscriptionTruth | null> => {
            // An old listing has no agreement that it could be found by.
            const truth = externalSubscriptionId.startsWith('l-')
              ? await agreements.read(externalSubscriptionId, raw)
              : toldTruth(externalSubscriptionId, raw, clock.now());
            return truth && withGrants(truth, { entitlements, clock });
          },
          listAll: (): AsyncIterable<SubscriptionTruth> => agreements.listAll(),
          listing: AWS_LISTING,
        }
      : {}),
    mergeTruth,
    ...(keyChange ? { keyChange } : {}),
    resolveLanding: (fields: Record<string, string>, recall?: RecallRefs): Promise<LandingResolution> =>
      resolveLanding(fields, { settings, api, entitlements, clock, recall, agreements: help }),
    // AWS is told nothing: the registration is complete when the tenant serves, and that is remembered (contract aws §11.2).
    acknowledge: (truth: SubscriptionTruth, { predecessor }: { predecessor?: MarketplaceRefs }): Promise<MarketplaceRefs> => {
      const refs = readRefs(truth.refs);
      const derivedArn = refs && predecessor ? (deriveArn(refs, readRefs(predecessor)) ?? refs.derivedArn) : refs?.derivedArn;
      return Promise.resolve({ ...truth.refs, ...(derivedArn ? { derivedArn } : {}), registered: true });
    },
    buildUsageItem: (input: UsageItemInput): UsageWireItem => buildUsageItem(input, settings),
    submitUsage: (items: UsageWireItem[]): Promise<UsageItemOutcome[]> => submitUsage(items, settings, api, clock),
    batchKey,
    gateOf,
    deadlines,
    ...(settings.queues.length > 0 ? { pull: (sink: Sink) => pullQueues(settings, clients, sink, logger) } : {}),
    doctor: (options) => doctor(settings, api, options ?? {}, { clients, entitlements, agreements: agreementReader }),
  };
}

/** What messages and landings told of it. */
function toldTruth(externalSubscriptionId: string, raw: MarketplaceRefs | undefined, now: Date): SubscriptionTruth | null {
  const legacy = readLegacyRefs(raw);
  if (legacy) {
    const { productCode, customerIdentifier, generation } = legacy;
    return legacyIdOf(productCode, customerIdentifier, generation) === externalSubscriptionId ? legacyTruth(legacy, now) : null;
  }
  const refs = readRefs(raw);
  return refs?.licenseId === externalSubscriptionId && refs.productCode !== null ? truthOfRefs(refs, now) : null;
}

function pullQueues(settings: AwsSettings, clients: AwsClients, sink: Sink, logger?: Logger): Promise<{ stop(): Promise<void> }> {
  const pullers = settings.queues.map((url) => new QueuePuller(url, settings, clients, sink, logger).start());
  return Promise.resolve({ stop: async () => void (await Promise.all(pullers.map((one) => one.stop()))) });
}
