/** Liberal reading of foreign JSON: every function answers null for what is missing or of another kind. */
export type Fields = Record<string, unknown>;

export const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);

export const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {});

const MAX_TEXT = 512;
/** What Postgres takes neither as text nor as JSON: NUL, and a half of a surrogate pair. */
const UNSTORABLE = /[\0\ud800-\udfff]/u;

/** Text without stray blanks (a sample of AWS has one, contract aws §4.2); empty, endless and unstorable ones are null. */
export function textOf(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const text = value.trim();
  return text === '' || text.length > MAX_TEXT || UNSTORABLE.test(text) ? null : text;
}

const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/i;

/** An instant as text that compares like time: UTC with milliseconds. */
export function instantTextOf(value: unknown): string | null {
  const text = textOf(value);
  if (text === null || !INSTANT.test(text)) return null;
  const at = new Date(text);
  return Number.isNaN(at.getTime()) || at.getUTCFullYear() < 1970 || at.getUTCFullYear() > 9_999 ? null : at.toISOString();
}

export const dateOf = (text: string | null | undefined): Date | null => (text ? new Date(text) : null);

const LICENCE = /(?:^|[:/])(l-[0-9a-z]{8,64})$/i;

/** AWS's surfaces spell one licence in several ways; only the `l-…` id is common to all (contract aws §2). */
export const licenceIdOf = (value: unknown): string | null => LICENCE.exec(textOf(value) ?? '')?.[1]?.toLowerCase() ?? null;
