import type { SamplePart } from './cost-split.js';

/** Parts that one sample may name; more are told as a part without labels, by leaving them out. */
const MAX_PARTS = 1_000;
const MAX_LABELS = 8;
const NAME = /^[a-z][a-z0-9_]{0,62}$/;
/** Printable, and as long as the longest that a marketplace takes. */
const TEXT = /^[^\p{Cc}\p{Cs}]{1,256}$/u;

/**
 * `data.split` of a sample: `[{"labels": {"department": "it"}, "value": "60"}]`, parts of the value at that instant (of a gauge) or
 * since the epoch began (of a counter). What they leave of the value belongs to nobody's labels. Answers the fault as text.
 */
export function readSplit(raw: unknown, value: bigint): SamplePart[] | undefined | string {
  if (raw === undefined) return undefined;
  if (!Array.isArray(raw) || raw.length > MAX_PARTS) return `data.split must be a list of at most ${MAX_PARTS} parts`;
  let sum = 0n;
  const parts: SamplePart[] = [];
  for (const one of raw as unknown[]) {
    const part = typeof one === 'object' && one !== null ? (one as Record<string, unknown>) : {};
    const { labels, value: text } = part;
    if (typeof labels !== 'object' || labels === null || Array.isArray(labels)) return 'a part of data.split has no labels';
    const entries = Object.entries(labels as Record<string, unknown>);
    if (entries.length === 0 || entries.length > MAX_LABELS) return `a part of data.split has 1 to ${MAX_LABELS} labels`;
    for (const [name, label] of entries)
      if (!NAME.test(name) || typeof label !== 'string' || !TEXT.test(label))
        return 'a label of data.split is a lower-case name with text of 1 to 256 printable characters';
    if (typeof text !== 'string' || !/^\d{1,60}$/.test(text)) return 'a part of data.split needs a value, a whole number as decimal text';
    sum += BigInt(text);
    parts.push({ labels: Object.fromEntries(entries) as Record<string, string>, value: BigInt(text) });
  }
  if (sum > value) return 'the parts of data.split add up to more than data.value';
  return parts.length === 0 ? undefined : parts;
}
