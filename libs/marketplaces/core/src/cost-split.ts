import type { Marketplace } from './words.js';

/** One part of a record's quantity, with the labels that it is reported under. The parts of a record add up to it exactly. */
export interface CostPart {
  /** As the marketplace knows them. */
  labels: Record<string, string>;
  /** Exact decimal text in listed units. */
  quantity: string;
}

/** What a marketplace takes of labels by which a buyer splits the cost of a record. */
export interface CostSplitLimits {
  /** Parts of one record, the rest among them. */
  parts: number;
  /** Labels of one part. */
  labels: number;
  key: RegExp;
  value: RegExp;
  /** Bytes that the parts of one record may take, generously counted. */
  bytes: number;
}

/**
 * AWS: vendor-metered tagging, 1 to 2,500 allocations of 1 to 5 tags, and a call below 1 MB (contract aws §5.1). Google: user labels
 * belong to a whole operation, so each part is an operation of its own, some 800 bytes of a request of 1 MB (contract gcp §4); lower
 * case and 63 characters are what all of its readers take. Azure has nothing of the kind.
 */
export const COST_SPLIT_LIMITS: Record<Marketplace, CostSplitLimits | null> = {
  aws: {
    parts: 2_500,
    labels: 5,
    key: /^[a-zA-Z0-9+ \-=._:/@]{1,100}$/,
    value: /^[a-zA-Z0-9+ \-=._:/@]{1,256}$/,
    bytes: 800_000,
  },
  gcp: {
    parts: 200,
    labels: 5,
    key: /^(?:cloudmarketplace\.googleapis\.com\/(?:resource_name|container_name)|[a-z][a-z0-9_-]{0,62})$/,
    value: /^[a-z0-9_-]{1,63}$/,
    bytes: 800_000,
  },
  azure: null,
};

/** Two parts with the same labels have the same key, whatever the order. */
export const labelsKey = (labels: Record<string, string>): string =>
  JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));

/**
 * What of these parts a marketplace would refuse, or null: one bad part refuses a whole call, and none says which. `isPart` tells
 * whether it takes a part's quantity, a whole number in any case.
 */
export function costPartsFault(
  parts: readonly CostPart[],
  quantity: string,
  limits: CostSplitLimits,
  isPart: (quantity: string) => boolean,
): string | null {
  if (parts.length < 1 || parts.length > limits.parts) return `a record has 1 to ${limits.parts} parts`;
  if (new Set(parts.map((p) => labelsKey(p.labels))).size < parts.length) return 'two parts have the same labels';
  if (!parts.every((p) => isPart(p.quantity))) return 'the quantity of a part is not one that the marketplace takes';
  if (parts.reduce((sum, p) => sum + BigInt(p.quantity), 0n) !== BigInt(quantity)) return 'the parts do not add up to the quantity';
  const labels = parts.map((p) => Object.entries(p.labels));
  if (labels.some((l) => l.length > limits.labels || l.some(([k, v]) => !limits.key.test(k) || !limits.value.test(v))))
    return 'a label is not one that the marketplace takes';
  return null;
}
