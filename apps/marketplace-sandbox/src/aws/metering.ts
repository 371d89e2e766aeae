import { randomInt, randomUUID } from 'node:crypto';
import { HOUR, SECOND } from '../shared/clock.js';
import { leftForLater } from '../shared/faults.js';
import { refuseLegacyKeys, settleLegacy } from './channels/legacy-metering.js';
import type { AwsContext } from './context.js';
import { AwsError } from './errors.js';
import { licenseArn, licenseIdOf } from './licence-arn.js';
import { type AwsProduct, productOf } from './settings.js';
import type { AwsCaller } from './sigv4.js';
import type { AwsAgreement } from './types.js';
import { readUsageRecords, type UsageRecord } from './usage-records.js';

interface Placed {
  record: UsageRecord;
  /** Undefined: AWS knows no such licence. */
  agreement: AwsAgreement | undefined;
}

/** Contract aws §5. One bad record refuses the whole request, and its place is not told. */
export function batchMeterUsage(context: AwsContext, caller: AwsCaller, input: Record<string, unknown>): object {
  const records = readUsageRecords(input, context.settings().tooManyTags);
  const legacy = typeof input['ProductCode'] === 'string' ? productOf(context.settings(), input['ProductCode']) : undefined;
  if (legacy?.contract === 'legacy' && caller.accountId === context.settings().sellerAccountId)
    return legacyBatch(context, caller, legacy, records);
  refuseKeys(input, records);
  const placed = records.map((record): Placed => ({ record, agreement: findAgreement(context, caller, record) }));
  const products = new Set(placed.flatMap(({ agreement }) => (agreement ? [agreement.productCode] : [])));
  if (products.size > 1) throw new AwsError('InvalidLicenseException', 'The licenses of a request belong to one product.');
  const nowMs = context.clock.nowMs();
  for (const { record } of placed) refuseTimestamp(record.timestampMs, nowMs, context.settings().lookBackHours * HOUR);
  for (const one of placed) refuseLicenceWindow(context, one, nowMs);
  for (const one of placed) refuseDimension(context, one);

  const left = leftForLater(context.faults, 'aws', 'batchMeterUsage', placed.length);
  const processed = placed.slice(0, placed.length - left);
  return {
    Results: shuffled(processed.map((one) => settle(context, caller, one, nowMs))),
    UnprocessedRecords: placed.slice(placed.length - left).map(({ record }) => record.raw),
  };
}

/** A legacy listing's call: the same window, first write and leftovers, another key (contract aws §5). */
function legacyBatch(context: AwsContext, caller: AwsCaller, product: AwsProduct, records: UsageRecord[]): object {
  refuseLegacyKeys(product, records);
  for (const { timestampMs } of records) refuseTimestamp(timestampMs, context.clock.nowMs(), context.settings().lookBackHours * HOUR);
  const processed = records.slice(0, records.length - leftForLater(context.faults, 'aws', 'batchMeterUsage', records.length));
  return {
    Results: shuffled(processed.map((record) => settleLegacy(context, caller, product, record))),
    UnprocessedRecords: records.slice(processed.length).map(({ raw }) => raw),
  };
}

/** A product sold with concurrent agreements is metered by licence and buyer account only (contract aws §0.3, §1). */
function refuseKeys(input: Record<string, unknown>, records: UsageRecord[]): void {
  const productCode = input['ProductCode'];
  if (productCode !== undefined && productCode !== null) {
    const both = records.some((record) => record.licenseArn !== undefined);
    throw new AwsError(
      'InvalidProductCodeException',
      both ? 'ProductCode and LicenseArn exclude each other.' : 'The product is metered by LicenseArn; leave ProductCode out.',
    );
  }
  for (const record of records) {
    if (record.customerIdentifier !== undefined)
      throw new AwsError('InvalidCustomerIdentifierException', 'CustomerIdentifier is not supported for this product.');
    if (record.licenseArn === undefined) throw new AwsError('InvalidLicenseException', 'LicenseArn is required.');
    if (record.accountId === undefined) throw new AwsError('InvalidCustomerIdentifierException', 'CustomerAWSAccountId is required.');
  }
}

function findAgreement(context: AwsContext, caller: AwsCaller, record: UsageRecord): AwsAgreement | undefined {
  const licenseId = licenseIdOf(record.licenseArn ?? '');
  const agreement = licenseId === undefined ? undefined : context.state.agreementOfLicence(licenseId);
  if (licenseId === undefined) throw new AwsError('InvalidLicenseException', 'The license ARN is not valid.');
  if (!agreement) return undefined;
  // The raw text from ResolveCustomer and no other spelling; licences of another seller are none (contract aws §2).
  const isOurs = caller.accountId === context.settings().sellerAccountId;
  if (!isOurs || record.licenseArn !== licenseArn(context.settings(), licenseId))
    throw new AwsError('InvalidLicenseException', 'The license ARN is not valid.');
  return agreement;
}

/** At most 24 h old (6 by older texts), and last month only until 06:00 UTC on the 1st (contract aws §5.2). */
function refuseTimestamp(timestampMs: number, nowMs: number, lookBackMs: number): void {
  const now = new Date(nowMs);
  const monthStart = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1);
  const isClosedMonth = timestampMs < monthStart && nowMs >= monthStart + 6 * HOUR;
  if (timestampMs > nowMs || nowMs - timestampMs > lookBackMs || isClosedMonth) {
    throw new AwsError('TimestampOutOfBoundsException', 'The timestamp value passed in the UsageRecord is out of allowed range.');
  }
}

function refuseLicenceWindow(context: AwsContext, { record, agreement }: Placed, nowMs: number): void {
  if (!agreement || !isSubscribed(context, agreement, nowMs)) return;
  const startMs = Date.parse(agreement.startsAt);
  const fromMs = context.settings().licenceWindow === 'hour' ? Math.floor(startMs / HOUR) * HOUR : startMs;
  const endMs = endMsOf(context, agreement) ?? (agreement.endsAt === null ? undefined : Date.parse(agreement.endsAt));
  if (record.timestampMs < fromMs || (endMs !== undefined && record.timestampMs > endMs)) {
    throw new AwsError('InvalidLicenseException', 'The timestamp lies outside the activation of the license.');
  }
}

/** A licence that AWS does not know lends no product; then any dimension of the seller's will do. */
function refuseDimension(context: AwsContext, { record, agreement }: Placed): void {
  const settings = context.settings();
  const product = agreement && productOf(settings, agreement.productCode);
  const known = product ? product.dimensions : settings.products.flatMap((one) => one.dimensions);
  if (!known.includes(record.dimension))
    throw new AwsError(
      'InvalidUsageDimensionException',
      'The usage dimension does not match one of the UsageDimensions associated with products.',
    );
}

function settle(context: AwsContext, caller: AwsCaller, { record, agreement }: Placed, nowMs: number): object {
  const { state, clock, settings } = context;
  if (!agreement || agreement.buyerAccountId !== record.accountId || !isSubscribed(context, agreement, nowMs)) {
    return { UsageRecord: record.raw, Status: 'CustomerNotSubscribed' };
  }
  const hour = new Date(Math.floor(record.timestampMs / HOUR) * HOUR).toISOString();
  const key = [caller.region, agreement.licenseId, record.accountId, record.dimension, hour].join('|');
  const first = state.usage.get(key);
  // First write wins; what differs in the same hour is not added and not billed (contract aws §5.3).
  if (first && (first.fingerprint !== record.fingerprint || settings().identicalResend === 'duplicate')) {
    return { UsageRecord: record.raw, Status: 'DuplicateRecord' };
  }
  const accepted =
    first ??
    state.usage.put(key, {
      meteringRecordId: randomUUID(),
      region: caller.region,
      licenseId: agreement.licenseId,
      productCode: agreement.productCode,
      buyerAccountId: record.accountId,
      dimension: record.dimension,
      hour,
      quantity: record.quantity,
      fingerprint: record.fingerprint,
      acceptedAt: clock.now().toISOString(),
    });
  return { UsageRecord: record.raw, MeteringRecordId: accepted.meteringRecordId, Status: 'Success' };
}

/** From the licence on, until one hour after the first event that ended it (contract aws §4.3). */
export function isSubscribed(context: AwsContext, agreement: AwsAgreement, nowMs: number): boolean {
  if (agreement.licensedAt === null) return false;
  const closesMs = finalWindowClosesMs(context, agreement);
  return closesMs === undefined || nowMs < closesMs;
}

export function finalWindowClosesMs(context: AwsContext, agreement: AwsAgreement): number | undefined {
  const endMs = endMsOf(context, agreement);
  return endMs === undefined ? undefined : endMs + context.settings().finalWindowSeconds * SECOND;
}

/** The event that opens the final hour; AWS contradicts itself about which (contract aws §4.3). */
function endMsOf(context: AwsContext, agreement: AwsAgreement): number | undefined {
  const { endedAt, deprovisionedAt } = agreement;
  const reading = context.settings().finalHourOpens;
  const opens = reading === 'ended' ? [endedAt] : reading === 'deprovisioned' ? [deprovisionedAt] : [endedAt, deprovisionedAt];
  const ends = opens.flatMap((instant) => (instant === null ? [] : [Date.parse(instant)]));
  return ends.length ? Math.min(...ends) : undefined;
}

/** The order of results is not promised: never the order of the request when there are two or more. */
function shuffled<T>(items: T[]): T[] {
  const result = [...items];
  for (let index = result.length - 1; index > 0; index -= 1) {
    const other = randomInt(index + 1);
    [result[index], result[other]] = [result[other] as T, result[index] as T];
  }
  return result.length > 1 && result.every((item, index) => item === items[index]) ? [...result.slice(1), result[0] as T] : result;
}
