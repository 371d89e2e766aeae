import { AwsError } from './errors.js';
import { isObject, readQuantity } from './shape.js';

const MAX_ALLOCATIONS = 2500;
const MAX_TAGS = 5;
const TAG_TEXT = /^[a-zA-Z0-9+ \-=._:\\/@]+$/;

/** Vendor-metered tagging, contract aws §5.1. Undefined = nothing wrong. */
export function allocationsFault(allocations: unknown, quantity: bigint, tooManyTags: string): AwsError | undefined {
  if (!Array.isArray(allocations)) return new AwsError('SerializationException', 'UsageAllocations is not a list');
  if (allocations.length < 1 || allocations.length > MAX_ALLOCATIONS)
    return allocationsError(`A record has 1 to ${MAX_ALLOCATIONS} usage allocations.`);
  const seen = new Set<string>();
  let sum = 0n;
  for (const allocation of allocations as unknown[]) {
    if (!isObject(allocation)) return new AwsError('SerializationException', 'A usage allocation is not a structure');
    if (allocation['AllocatedUsageQuantity'] === undefined)
      return new AwsError('ValidationException', 'AllocatedUsageQuantity must not be null');
    sum += BigInt(readQuantity(allocation['AllocatedUsageQuantity'], 'allocatedUsageQuantity'));
    const tags = allocation['Tags'];
    if (tags !== undefined && tags !== null) {
      if (Array.isArray(tags) && tags.length > MAX_TAGS) return new AwsError(tooManyTags, `A usage allocation has 1 to ${MAX_TAGS} tags.`);
      const fault = tagsFault(tags);
      if (fault) return new AwsError('InvalidTagException', fault);
    }
    const key = tagSet(tags);
    if (seen.has(key)) return allocationsError('Two usage allocations have the same set of tags.');
    seen.add(key);
  }
  if (sum !== quantity) return allocationsError(`The allocated quantities add up to ${sum}, not to the record's ${quantity}.`);
  return undefined;
}

function tagsFault(tags: unknown): string | undefined {
  if (!Array.isArray(tags) || tags.length < 1) return `A usage allocation has 1 to ${MAX_TAGS} tags.`;
  const keys = new Set<string>();
  for (const tag of tags as unknown[]) {
    if (!isObject(tag)) return 'A tag has a Key and a Value.';
    const { Key: key, Value: value } = tag;
    if (typeof key !== 'string' || key.length < 1 || key.length > 100 || !TAG_TEXT.test(key)) return 'A tag key is not valid.';
    if (typeof value !== 'string' || value.length < 1 || value.length > 256 || !TAG_TEXT.test(value)) return 'A tag value is not valid.';
    if (keys.has(key)) return 'A tag key is there twice.';
    keys.add(key);
  }
  return undefined;
}

function tagSet(tags: unknown): string {
  if (!Array.isArray(tags)) return '';
  return JSON.stringify((tags as { Key: string; Value: string }[]).map((tag) => [tag.Key, tag.Value]).sort());
}

/** The same split in another order is the same split. */
export function allocationsText(allocations: unknown): string {
  if (!Array.isArray(allocations)) return '';
  const parts = (allocations as Record<string, unknown>[]).map(
    (one) => `${tagSet(one['Tags'])}=${readQuantity(one['AllocatedUsageQuantity'], 'allocatedUsageQuantity')}`,
  );
  return parts.sort().join(';');
}

function allocationsError(message: string): AwsError {
  return new AwsError('InvalidUsageAllocationsException', message);
}
