import { isDecimal } from '#platform';
import { NumberText } from './exact-json.js';

/** Liberal reading of foreign JSON: every function answers null for what is missing or of another kind (contract azure §3, parsing traps). */
export type Fields = Record<string, unknown>;

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof NumberText);
}

export const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {});

/** Text without the stray blanks that the documents' samples have; empty is null. */
export function textOf(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const text = value.trim();
  return text === '' ? null : text;
}

export const flagOf = (value: unknown): boolean | null =>
  typeof value === 'boolean' ? value : value === 'true' ? true : value === 'false' ? false : null;

/** A number's exact text, whether it came as a number or as text. */
export function decimalOf(value: unknown): string | null {
  const text = value instanceof NumberText ? value.text : typeof value === 'number' ? String(value) : textOf(value);
  return text !== null && isDecimal(text) ? text : null;
}

/** Seats: text, number, empty or null depending on the place. */
export function seatsOf(value: unknown): number | null {
  const text = decimalOf(value);
  const seats = text === null ? Number.NaN : Number(text);
  return Number.isSafeInteger(seats) && seats >= 0 ? seats : null;
}

const INSTANT = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(\.\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?$/i;

/** A time with or without zone (then UTC), with any number of fraction digits. The year 1 means "never". */
export function instantOf(value: unknown): Date | null {
  const match = INSTANT.exec(textOf(value) ?? '');
  if (!match) return null;
  const [, day = '', time = '00:00:00', fraction = '', zone = 'Z'] = match;
  const at = new Date(`${day}T${time.length === 5 ? `${time}:00` : time}${fraction.slice(0, 4)}${zone.toUpperCase()}`);
  return Number.isNaN(at.getTime()) || at.getUTCFullYear() < 1970 ? null : at;
}

const DAY_MS = 86_400_000;

/** `endDate` is the last valid day; the exclusive end is the midnight after it. */
export function exclusiveEndOf(value: unknown): Date | null {
  const last = instantOf(value);
  return last && new Date(Math.floor(last.getTime() / DAY_MS) * DAY_MS + DAY_MS);
}

const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Ids of Microsoft that go into a URL; anything else never leaves this house. */
export function guidOf(value: unknown): string | null {
  const text = textOf(value);
  return text !== null && GUID.test(text) ? text.toLowerCase() : null;
}

export const sameWord = (a: string | null, b: string | null): boolean => (a ?? '').toLowerCase() === (b ?? '').toLowerCase();
