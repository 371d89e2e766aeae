/** A unit of data as a listing or a name spells it. */
export interface DataUnit {
  /** As it was read, for example `GiB`. */
  name: string;
  /** Bytes in one of it, with the number before it. */
  bytes: bigint;
  /** The unit is multiplied with time. A month has no fixed length: no exact ratio exists. */
  per: 'none' | 'hour' | 'month';
}

const PREFIXES = ['', 'k', 'm', 'g', 't', 'p', 'e'];
const WORD = /^([kmgtpe]?)(i?)b$/i;
const HOURS = new Set(['h', 'hr', 'hrs', 'hour', 'hours']);
const MONTHS = new Set(['month', 'months', 'mo']);

/**
 * Reads `GiB-hour`, `per GB hour`, `10 MiB`, `gib_hours_stored`. Null where it names no unit of data. GB is 10^9 and GiB 2^30:
 * the 7.4 % between them are a seller's loss or a buyer's claim (money.md, "Units").
 */
export function readDataUnit(text: string): DataUnit | null {
  const words = text.split(/[^A-Za-z0-9]+/).filter(Boolean);
  const at = words.findIndex((word) => WORD.test(word) || /^bytes?$/i.test(word));
  const name = words[at];
  if (name === undefined) return null;
  const [, prefix = '', binary = ''] = WORD.exec(name) ?? [];
  const power = BigInt(PREFIXES.indexOf(prefix.toLowerCase()));
  const amount = /^[1-9]\d*$/.test(words[at - 1] ?? '') ? BigInt(words[at - 1]!) : 1n;
  const rest = words.slice(at + 1).map((word) => word.toLowerCase());
  return {
    name,
    bytes: amount * (binary ? 1024n : 1000n) ** power,
    per: rest.some((word) => HOURS.has(word)) ? 'hour' : rest.some((word) => MONTHS.has(word)) ? 'month' : 'none',
  };
}

/** How far `found` is from `expected`, for people: `7.4 % more`. */
export function deviation(found: bigint, expected: bigint): string {
  const permille = ((found - expected) * 10_000n) / expected;
  const size = permille < 0n ? -permille : permille;
  if (size >= 100_000n) return `${found > expected ? found / expected : expected / found} times ${found > expected ? 'more' : 'less'}`;
  const tenths = (size + 5n) / 10n;
  return `${tenths / 10n}.${tenths % 10n} % ${found > expected ? 'more' : 'less'}`;
}
