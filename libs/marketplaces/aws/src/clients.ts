import { MarketplaceAgreementClient } from '@aws-sdk/client-marketplace-agreement';
import { MarketplaceEntitlementServiceClient } from '@aws-sdk/client-marketplace-entitlement-service';
import { MarketplaceMeteringClient } from '@aws-sdk/client-marketplace-metering';
import { SNSClient } from '@aws-sdk/client-sns';
import { SQSClient } from '@aws-sdk/client-sqs';
import { fromTemporaryCredentials } from '@aws-sdk/credential-providers';
import type { GuardedHttp } from '#platform';
import { GuardedHandler } from './guarded-handler.js';
import { AGREEMENT_REGION, ENTITLEMENT_REGION } from './hosts.js';
import type { AwsSettings } from './settings.js';

/** A queue is asked for 20 s at a time; what is longer than this has lost its answer. */
const LONGEST_CALL_MS = 45_000;

/** Clients of the services that are called: one attempt each (our queue repeats), every byte through the guarded client. */
export class AwsClients {
  private readonly common;

  constructor(
    private readonly settings: AwsSettings,
    http: GuardedHttp,
  ) {
    const requestHandler = new GuardedHandler(http, LONGEST_CALL_MS) as unknown as Record<string, unknown>;
    const credentials = credentialsOf(settings, requestHandler);
    this.common = { maxAttempts: 1, requestHandler, ...(credentials ? { credentials } : {}) };
  }

  metering(): MarketplaceMeteringClient {
    const { region, endpoint } = this.settings;
    return new MarketplaceMeteringClient({ ...this.common, region, ...(endpoint ? { endpoint } : {}) });
  }

  entitlement(): MarketplaceEntitlementServiceClient {
    const endpoint = this.settings.entitlementEndpoint;
    return new MarketplaceEntitlementServiceClient({ ...this.common, region: ENTITLEMENT_REGION, ...(endpoint ? { endpoint } : {}) });
  }

  agreement(): MarketplaceAgreementClient {
    const endpoint = this.settings.agreements?.endpoint;
    return new MarketplaceAgreementClient({ ...this.common, region: AGREEMENT_REGION, ...(endpoint ? { endpoint } : {}) });
  }

  sns(region: string): SNSClient {
    const endpoint = this.settings.sns?.endpoint;
    return new SNSClient({ ...this.common, region, ...(endpoint ? { endpoint } : {}) });
  }

  sqs(region: string): SQSClient {
    const endpoint = this.settings.sqsEndpoint;
    return new SQSClient({ ...this.common, region, ...(endpoint ? { endpoint } : {}) });
  }
}

/**
 * The seller's role in another account, where one is configured; else the given key; else the SDK's own chain, which asks this
 * machine (environment, files, instance or container metadata) and so is not a call to the outside.
 */
function credentialsOf({ role, credentials, region }: AwsSettings, requestHandler: Record<string, unknown>) {
  if (!role) return credentials;
  return fromTemporaryCredentials({
    ...(credentials ? { masterCredentials: credentials } : {}),
    params: { RoleArn: role.arn, RoleSessionName: 'berth', ...(role.externalId ? { ExternalId: role.externalId } : {}) },
    clientConfig: { region, requestHandler, maxAttempts: 1, ...(role.endpoint ? { endpoint: role.endpoint } : {}) },
  });
}
