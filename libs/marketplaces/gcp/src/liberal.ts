/** Liberal reading of foreign JSON: every function answers null for what is missing, empty or of another kind (contract gcp §2). */
export type Fields = Record<string, unknown>;

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {});
export const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** What Postgres takes neither as text nor as JSON: NUL, and a half of a surrogate pair. */
const UNSTORABLE = /[\0\ud800-\udfff]/u;

/** Google leaves unset texts out or empty: both are null. */
export function textOf(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const text = value.trim();
  return text === '' || UNSTORABLE.test(text) ? null : text;
}

const INSTANT = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/i;

/** An RFC 3339 time; what is below a millisecond is cut off. */
export function instantOf(value: unknown): Date | null {
  const match = INSTANT.exec(textOf(value) ?? '');
  if (!match) return null;
  const at = new Date(`${match[1]}.${(match[2] ?? '').padEnd(3, '0').slice(0, 3)}${match[3]!.toUpperCase()}`);
  return Number.isNaN(at.getTime()) ? null : at;
}

/** Microseconds are what orders two views of one entitlement, and a JavaScript date has none: always six digits, in UTC. */
export function microsecondsOf(value: unknown): string | null {
  const at = instantOf(value);
  const match = INSTANT.exec(textOf(value) ?? '');
  return at && match ? `${at.toISOString().slice(0, 19)}.${(match[2] ?? '').padEnd(6, '0').slice(0, 6)}Z` : null;
}

const ID = /^[A-Za-z0-9][A-Za-z0-9._~-]{0,254}$/;

/** Ids come bare or at the end of a resource name. Anything that is no plain id never enters a URL. */
export function lastSegment(value: unknown): string | null {
  const id = textOf(value)?.split('/').at(-1) ?? '';
  return ID.test(id) ? id : null;
}

/** Cut to so many UTF-8 bytes without halving a character. */
export function cutToBytes(text: string, bytes: number): string {
  let cut = '';
  let size = 0;
  for (const character of text) {
    size += Buffer.byteLength(character);
    if (size > bytes) break;
    cut += character;
  }
  return cut;
}

export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
