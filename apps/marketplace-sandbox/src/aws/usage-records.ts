import { ExactNumber } from '../shared/exact-json.js';
import { allocationsFault, allocationsText } from './allocations.js';
import { isObject, readQuantity, serialization, validation } from './shape.js';

export interface UsageRecord {
  /** As it was sent, for the echo. */
  raw: Record<string, unknown>;
  timestampMs: number;
  accountId: string | undefined;
  customerIdentifier: string | undefined;
  licenseArn: string | undefined;
  dimension: string;
  quantity: string;
  fingerprint: string;
}

const MAX_RECORDS = 25;

/** What the service's model demands before any rule of business is looked at (contract aws §5.1). */
export function readUsageRecords(input: Record<string, unknown>, tooManyTags: string): UsageRecord[] {
  const records = input['UsageRecords'];
  if (records === undefined || records === null) throw validation('usageRecords', 'Member must not be null');
  if (!Array.isArray(records)) throw serialization('UsageRecords is not a list');
  if (records.length > MAX_RECORDS) throw validation('usageRecords', `Member must have length less than or equal to ${MAX_RECORDS}`);
  return records.map((record: unknown) => {
    if (!isObject(record)) throw serialization('A usage record is not a structure');
    return readRecord(record, tooManyTags);
  });
}

function readRecord(raw: Record<string, unknown>, tooManyTags: string): UsageRecord {
  const timestamp = raw['Timestamp'];
  if (timestamp === undefined || timestamp === null) throw validation('usageRecords.member.timestamp', 'Member must not be null');
  // Epoch seconds; ISO text is refused on the wire (contract aws §6).
  if (!(timestamp instanceof ExactNumber) || !Number.isFinite(timestamp.value))
    throw serialization('Timestamp is not a number of epoch seconds');
  const dimension = optionalText(raw, 'Dimension');
  if (dimension === undefined) throw validation('usageRecords.member.dimension', 'Member must not be null');
  if (dimension.length < 1 || dimension.length > 255)
    throw validation('usageRecords.member.dimension', 'Member must have length between 1 and 255');
  const accountId = optionalText(raw, 'CustomerAWSAccountId');
  if (accountId !== undefined && !/^\d{1,255}$/.test(accountId))
    throw validation('usageRecords.member.customerAWSAccountId', 'Member must satisfy regular expression pattern: ^[0-9]+$');
  const licenseArn = optionalText(raw, 'LicenseArn');
  // The spelling of events lacks the prefix and fails here (contract aws §2).
  if (licenseArn !== undefined && !/^arn:aws(-[a-z-]+)?:[a-z0-9-]+:/.test(licenseArn))
    throw validation('usageRecords.member.licenseArn', 'Member must satisfy regular expression pattern: ^arn:aws(-[a-z]{1,}){0,2}:.*');
  const quantity = readQuantity(raw['Quantity'], 'usageRecords.member.quantity');
  const allocations = raw['UsageAllocations'];
  if (allocations !== undefined && allocations !== null) {
    const fault = allocationsFault(allocations, BigInt(quantity), tooManyTags);
    if (fault) throw fault;
  }
  return {
    raw,
    timestampMs: timestamp.value * 1000,
    accountId,
    customerIdentifier: optionalText(raw, 'CustomerIdentifier'),
    licenseArn,
    dimension,
    quantity,
    fingerprint: JSON.stringify([timestamp.value, quantity, allocationsText(allocations)]),
  };
}

function optionalText(raw: Record<string, unknown>, name: string): string | undefined {
  const value = raw[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw serialization(`${name} is not a string`);
  return value;
}
