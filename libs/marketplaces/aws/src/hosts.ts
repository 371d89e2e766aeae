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

/** Every host this adapter calls with these settings, for the allow-list of the guarded client. */
export function awsHosts(settings: AwsSettings): string[] {
  const { region, sns } = settings;
  return [
    ...new Set([
      ...hostsOf([settings.endpoint ?? `https://metering.marketplace.${region}.${domainOf(region)}`]),
      ...(Object.keys(settings.contractProducts).length > 0
        ? hostsOf([settings.entitlementEndpoint ?? `https://entitlement.marketplace.${ENTITLEMENT_REGION}.amazonaws.com`])
        : []),
      ...(settings.agreements
        ? hostsOf([settings.agreements.endpoint ?? `https://agreement-marketplace.${AGREEMENT_REGION}.amazonaws.com`])
        : []),
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
