import { MarketplaceRefusal } from '#marketplaces/core';
import type { AwsSettings } from '../settings.js';

/** Whether a product is sold and metered by the old contract at this business time. */
export function isLegacyAt(settings: Pick<AwsSettings, 'legacyProducts'>, productCode: string, at: Date): boolean {
  const legacy = settings.legacyProducts[productCode];
  return legacy !== undefined && (legacy.until === null || at < legacy.until);
}

/**
 * One customer-hour has one key: metered by ProductCode and again by LicenseArn it is billed twice (contract aws §0.3). The hour
 * itself decides which, so no order of messages and no repeat can choose both. Throws `aws.both_keys`.
 */
export function checkKey(
  settings: Pick<AwsSettings, 'legacyProducts'>,
  productCode: string,
  key: 'legacy' | 'license',
  hourStart: Date,
): void {
  const wanted = isLegacyAt(settings, productCode, hourStart) ? 'legacy' : 'license';
  if (key !== wanted)
    throw new MarketplaceRefusal(
      'aws.both_keys',
      `hours of ${productCode} from this one on are metered by ${wanted === 'legacy' ? 'customer identifier' : 'licence'} only`,
      403,
    );
}
