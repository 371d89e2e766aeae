import type { UsageRecord } from '@aws-sdk/client-marketplace-metering';
import { MarketplaceBusy, MarketplaceRefusal, type UsageItemOutcome, type UsageWireItem } from '#marketplaces/core';
import type { Clock } from '#platform';
import { type AwsApi, codeOf, failureOf } from './api.js';
import { checkKey } from './legacy/keys.js';
import type { AwsSettings } from './settings.js';
import { AWS_USAGE, hourOf } from './usage-item.js';
import { readBatchAnswer } from './usage-outcomes.js';

/** One BatchMeterUsage call for items of one product, region and month (contract aws §5). */
export async function submitUsage(items: UsageWireItem[], settings: AwsSettings, api: AwsApi, clock: Clock): Promise<UsageItemOutcome[]> {
  if (items.length === 0) return [];
  if (items.length > AWS_USAGE.batchSize)
    throw new MarketplaceRefusal('aws.batch_too_large', `${items.length} items; ${AWS_USAGE.batchSize} are allowed`);
  // Dedupe is per region: an item that was sent elsewhere would be billed again here (contract aws §5.1).
  if (items.some((item) => item.route['region'] !== settings.region))
    throw new MarketplaceRefusal(
      'aws.region_changed',
      `an item was made for another metering region than ${settings.region}: set AWS_METERING_REGION back`,
      403,
    );
  const [first] = items;
  const isLegacy = first!.route['key'] === 'legacy';
  const productCode = first!.route['productCode'] as string;
  if (items.some((item) => (item.route['key'] === 'legacy') !== isLegacy || (isLegacy && item.route['productCode'] !== productCode)))
    throw new MarketplaceRefusal('aws.both_keys', 'records by licence and by customer identifier never share a call', 403);
  // Also what was frozen before the settings changed: that customer-hour may have gone by the other key (contract aws §0.3).
  for (const item of items)
    checkKey(settings, item.route['productCode'] as string, isLegacy ? 'legacy' : 'license', hourOf(recordOf(item).Timestamp!));
  let answer: unknown;
  try {
    answer = await api.batchMeterUsage(items.map(recordOf), isLegacy ? productCode : undefined);
  } catch (error) {
    const { sort, name, message } = failureOf(error);
    if (sort === 'busy') throw new MarketplaceBusy(`batchMeterUsage: ${name}: ${message}`, name.includes('hrott') ? 2_000 : null);
    // One bad record refuses all, unnamed: halving finds it. With a wrong key or region no half is better (contract aws §5.4).
    if (sort === 'refused') throw new MarketplaceRefusal(codeOf(name), message, 400);
    if (sort === 'us') throw new MarketplaceRefusal(codeOf(name), message, 403);
    return items.map(({ itemId }) => ({ itemId, outcome: 'unknown', detail: `${name}: ${message}` }));
  }
  return readBatchAnswer(items, answer, { identicalResend: settings.identicalResend, now: clock.now() });
}

/** The stored text, read for the SDK. It writes the same bytes of it each time: whole seconds and whole numbers. */
export function recordOf(item: UsageWireItem): UsageRecord {
  const { Timestamp, ...record } = JSON.parse(item.body) as Omit<UsageRecord, 'Timestamp'> & { Timestamp: number };
  return { Timestamp: new Date(Timestamp * 1000), ...record };
}
