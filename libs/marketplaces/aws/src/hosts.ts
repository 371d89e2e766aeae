import { MarketplaceAgreementClient } from '@aws-sdk/client-marketplace-agreement';
import { MarketplaceEntitlementServiceClient } from '@aws-sdk/client-marketplace-entitlement-service';
import { MarketplaceMeteringClient } from '@aws-sdk/client-marketplace-metering';
import { hostsOf } from '#platform';
import type { AwsSettings } from './settings.js';
import { topicRegionOf } from './topic-arn.js';

/** AWS's domain of a region: China and the European sovereign cloud have their own (contract aws §5.1). */
export const domainOf = (region: string): string =>
  region.startsWith('cn-') ? 'amazonaws.com.cn' : region.startsWith('eusc-') ? 'amazonaws.eu' : 'amazonaws.com';

/** Entitlements are read in one region, wherever usage is metered (contract aws §3). */
export const ENTITLEMENT_REGION = 'us-east-1';

/** Agreements too (contract aws §6, §7). */
export const AGREEMENT_REGION = 'us-east-1';

/** `sqs.<region>.…` of a queue's address; another address (the sandbox's) is taken for one of us-east-1. */
export const queueRegionOf = (queueUrl: string): string => /^sqs\.([a-z0-9-]+)\./.exec(new URL(queueUrl).hostname)?.[1] ?? 'us-east-1';

type Resolves = { config: { endpointProvider(parameters: { Region: string; UseDualStack: boolean; UseFIPS: boolean }): { url: URL } } };

/** Where the SDK itself goes: the name of a service differs between partitions (`metering-marketplace` in the European sovereign cloud). */
const sdkEndpoint = (Client: new (settings: { region: string }) => Resolves, region: string): string =>
  new Client({ region }).config.endpointProvider({ Region: region, UseDualStack: false, UseFIPS: false }).url.href;

/** Every host this adapter calls with these settings, for the allow-list of the guarded client. */
export function awsHosts(settings: AwsSettings): string[] {
  const { region, sns } = settings;
  return [
    ...new Set([
      ...hostsOf([settings.endpoint ?? sdkEndpoint(MarketplaceMeteringClient, region)]),
      ...(Object.keys(settings.contractProducts).length > 0
        ? hostsOf([settings.entitlementEndpoint ?? sdkEndpoint(MarketplaceEntitlementServiceClient, ENTITLEMENT_REGION)])
        : []),
      ...(settings.agreements ? hostsOf([settings.agreements.endpoint ?? sdkEndpoint(MarketplaceAgreementClient, AGREEMENT_REGION)]) : []),
      ...hostsOf(
        (sns?.topics ?? []).map((arn) => {
          const home = topicRegionOf(arn)!;
          return sns?.endpoint ?? `https://sns.${home}.${domainOf(home)}`;
        }),
      ),
      ...(settings.queues.length > 0 ? hostsOf(settings.sqsEndpoint ? [settings.sqsEndpoint] : settings.queues) : []),
      ...(settings.role ? hostsOf([settings.role.endpoint ?? `https://sts.${region}.${domainOf(region)}`]) : []),
    ]),
  ];
}
