import {
  COST_SPLIT_LIMITS,
  type CostPart,
  costPartsFault,
  type Deadlines,
  MarketplaceRefusal,
  type UsageItemInput,
  type UsageTraits,
  type UsageWireItem,
  withinAnySecond,
} from '#marketplaces/core';
import { licenceIdOf } from './liberal.js';
import { checkKey, isLegacyAt } from './legacy/keys.js';
import { readLegacyRefs } from './legacy/legacy-refs.js';
import { callArnOf, NOTHING_KNOWN, readRefs } from './refs.js';
import type { AwsSettings } from './settings.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/**
 * How AWS takes usage (contract aws §5). The dedupe key is licence, dimension and hour: it holds no plan, and all segments of
 * a purchase are of one licence. Two records of one hour would collide and the second would never be billed, so the second
 * segment of an hour waits for the next one. A renewal is a licence, and here a purchase, of its own: both go.
 */
export const AWS_USAGE: UsageTraits = {
  hourKey: 'one_per_hour',
  zeroWanted: true,
  maxQuantity: 2_147_483_647n,
  maxDecimals: 0,
  batchSize: 25,
  // Per account and region (contract aws §5.1), counted over any second.
  rate: withinAnySecond(10),
  // Not the 6 h of money.md: the month's last hour would then close at 06:00 on the 1st, when AWS has closed the month.
  holdLimitMinutes: 270,
  finalHoldMinutes: 30,
  safeResend: true,
};

const WHOLE = /^(0|[1-9]\d{0,9})$/;

/** The start of the hour that a stamp lies in. */
export const hourOf = (stamp: Date): Date => new Date(Math.floor(stamp.getTime() / HOUR) * HOUR);

export const usageKey = (licenseId: string, dimension: string, hourMs: number): string =>
  `${licenseId}|${dimension}|${hourOf(new Date(hourMs)).toISOString().slice(0, 13)}`;

/** Stands for the licence in the key of a legacy record. */
export const legacyHolder = (productCode: string, customerIdentifier: string): string => `${productCode}/${customerIdentifier}`;

/** The SDK checks nothing before it sends (contract aws §0.6), so this does. */
export function buildUsageItem(
  input: UsageItemInput,
  settings: Pick<AwsSettings, 'region' | 'legacyProducts' | 'licenceWindow'>,
): UsageWireItem {
  const wrong = (code: string, detail: string): never => {
    throw new MarketplaceRefusal(code, detail);
  };
  const told = readLegacyRefs(input.refs);
  // Joined with its licence, its hours from the change of keys on are reported under that, as what follows them is.
  const joined = told?.joined && !isLegacyAt(settings, told.productCode, input.hourStart) ? told.joined : null;
  const legacy = joined ? null : told;
  const refs = joined ? { ...NOTHING_KNOWN, ...joined, productCode: told!.productCode, endedAt: told!.endedAt } : readRefs(input.refs);
  const licenseId = joined?.licenseId ?? licenceIdOf(input.externalSubscriptionId);
  // Only ResolveCustomer tells the spelling that calls take; a renewal's is derived from its predecessor's (contract aws §2).
  const licenseArn = refs && callArnOf(refs);
  if (legacy) {
    if (!/^[\x21-\x7e]{1,255}$/.test(legacy.customerIdentifier))
      return wrong('aws.invalid_customer_identifier', 'this is no customer identifier');
  } else {
    if (!licenseId) return wrong('aws.invalid_license', 'the purchase is no licence');
    if (!refs || !licenseArn || licenceIdOf(licenseArn) !== licenseId)
      return wrong('aws.license_unresolved', 'the buyer has not come to the landing page: the spelling of the licence is not known');
    if (!refs.accountId || !/^\d+$/.test(refs.accountId)) return wrong('aws.account_missing', 'the buyer account is not known');
    if (!refs.productCode) return wrong('aws.product_missing', 'the product is not known');
  }
  if (input.dimension === '' || input.dimension.length > 255)
    return wrong('aws.invalid_usage_dimension', 'a dimension has 1 to 255 characters');
  const hourMs = input.hourStart.getTime();
  if (hourMs % HOUR !== 0) return wrong('aws.timestamp_out_of_bounds', 'the hour must start on the hour');
  if (!WHOLE.test(input.quantity) || BigInt(input.quantity) > AWS_USAGE.maxQuantity!)
    return wrong(
      'aws.invalid_quantity',
      `the quantity ${input.quantity.slice(0, 60)} is no whole number up to ${String(AWS_USAGE.maxQuantity)}`,
    );
  const text = (value: string): string => JSON.stringify(value);
  const productCode = (legacy ?? refs!).productCode!;
  const { region } = settings;
  checkKey(settings, productCode, legacy ? 'legacy' : 'license', input.hourStart);
  const who = legacy
    ? `"CustomerIdentifier":${text(legacy.customerIdentifier)}`
    : `"CustomerAWSAccountId":${text(refs!.accountId!)},"LicenseArn":${text(licenseArn!)}`;
  const fault = input.parts && costPartsFault(input.parts, input.quantity, COST_SPLIT_LIMITS.aws!, (q) => WHOLE.test(q));
  if (fault) return wrong('aws.invalid_usage_allocations', fault);
  const allocations = input.parts ? `,"UsageAllocations":[${input.parts.map(allocationText).join(',')}]` : '';
  const endedAt = (legacy ?? refs!).endedAt;
  return {
    itemId: input.itemId,
    wireKey: usageKey(legacy ? legacyHolder(productCode, legacy.customerIdentifier) : licenseId!, input.dimension, hourMs),
    body: `{"Timestamp":${legacy ? hourMs / 1000 : stampOf(input, settings)},${who},"Dimension":${text(input.dimension)},"Quantity":${input.quantity}${allocations}}`,
    route: {
      productCode,
      region,
      month: input.hourStart.toISOString().slice(0, 7),
      ...(legacy ? { key: 'legacy' } : {}),
      ...(allocations.length > SMALL_BYTES ? { alone: input.itemId } : {}),
      ...(endedAt === null ? {} : { endedAt }),
    },
  };
}

/** 25 records of so much stay below the 1 MB of a call; a larger one goes alone (contract aws §5.1). */
const SMALL_BYTES = 38_000;

function allocationText({ labels, quantity }: CostPart): string {
  const tags = Object.entries(labels).map(([key, value]) => `{"Key":${JSON.stringify(key)},"Value":${JSON.stringify(value)}}`);
  return `{"AllocatedUsageQuantity":${quantity}${tags.length > 0 ? `,"Tags":[${tags.join(',')}]` : ''}}`;
}

/**
 * Whole seconds. AWS's key is the hour that the stamp lies in, so a later one in the same hour is the same key. Nothing is counted
 * before the licence is in force: the first segment begins with it or after it.
 */
function stampOf({ hourStart, startsAt }: UsageItemInput, { licenceWindow }: Pick<AwsSettings, 'licenceWindow'>): number {
  const hourMs = hourStart.getTime();
  const fromMs = Math.ceil(startsAt.getTime() / 1_000) * 1_000;
  const isInside = licenceWindow === 'instant' && fromMs > hourMs && fromMs < hourMs + HOUR;
  return (isInside ? fromMs : hourMs) / 1_000;
}

/** Licences of two products in one call refuse all of it; months close at different times (contract aws §5.1, money.md "Month end"). */
export const batchKey = ({ route }: UsageWireItem): string =>
  `${route['productCode']}|${route['region']}|${route['month']}|${route['key'] ?? 'license'}${route['alone'] ? `|${route['alone']}` : ''}`;

/** Rates, and what is up or down, are by region. */
export const gateOf = ({ route }: UsageWireItem): string => route['region'] ?? '';

/** For the way there and for clocks that differ. */
const SAFETY_MS = 5 * MINUTE;
const ALARM_MS = 12 * HOUR;

/** `endedAt` is the first ending event: from then on there is one hour (contract aws §4.3). */
export function deadlines({ hourStart, hourEnd, endedAt }: { hourStart: Date; hourEnd: Date; endedAt: Date | null }): Deadlines {
  // The time stamp is the hour's start, and the 24 h count from it (contract aws §5.2).
  const window = hourStart.getTime() + 24 * HOUR;
  const monthClose = Date.UTC(hourStart.getUTCFullYear(), hourStart.getUTCMonth() + 1, 1, 6);
  const final = endedAt ? endedAt.getTime() + HOUR : Infinity;
  const hard = Math.min(window, monthClose, final) - SAFETY_MS;
  const warning = endedAt ? 15 * MINUTE : HOUR;
  return { target: new Date(Math.min(hourEnd.getTime() + ALARM_MS, hard - warning)), hard: new Date(hard) };
}
