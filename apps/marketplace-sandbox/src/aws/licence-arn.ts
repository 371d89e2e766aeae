import type { AwsSettings } from './settings.js';

/** The three surfaces of AWS write one licence in different ways; only the `l-…` id is common (contract aws §2). */
const REQUEST_ARN = /^arn:aws[a-z-]*:license-manager:[a-z0-9-]*:\d{12}:license:(l-[0-9a-f]{32})$/;

/** As ResolveCustomer gives it and BatchMeterUsage takes it. */
export function licenseArn(settings: AwsSettings, licenseId: string): string {
  return `arn:aws:license-manager::${settings.licenseIssuerAccountId}:license:${licenseId}`;
}

/** As events write it: without `arn:`, with a region, without `license`. */
export function licenseArnInEvents(settings: AwsSettings, licenseId: string): string {
  return `aws:license-manager:${settings.region}:${settings.licenseIssuerAccountId}:${licenseId}`;
}

export function licenseIdOf(arn: string): string | undefined {
  return REQUEST_ARN.exec(arn)?.[1];
}
