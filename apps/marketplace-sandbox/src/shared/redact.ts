import type { IncomingHttpHeaders } from 'node:http';

const SECRET_HEADERS = new Set(['authorization', 'x-ms-marketplace-token', 'cookie']);
const SECRET_FIELDS = new Set([
  'client_secret',
  'client_assertion',
  'access_token',
  'refresh_token',
  'id_token',
  'token',
  'RegistrationToken',
]);
const HIDDEN = '[redacted]';

export function redactHeaders(headers: IncomingHttpHeaders): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, SECRET_HEADERS.has(name) ? HIDDEN : value]));
}

/** JSON text stays readable as it was sent (numbers keep their digits) unless it holds a secret. */
export function redact(body: unknown): unknown {
  if (typeof body === 'string') {
    try {
      const parsed: unknown = JSON.parse(body);
      return hasSecret(parsed) ? JSON.stringify(hide(parsed)) : body;
    } catch {
      return body;
    }
  }
  return hide(body);
}

function hasSecret(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasSecret);
  if (value === null || typeof value !== 'object') return false;
  return Object.entries(value).some(([key, inner]) => SECRET_FIELDS.has(key) || hasSecret(inner));
}

function hide(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(hide);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, SECRET_FIELDS.has(key) ? HIDDEN : hide(inner)]));
}
