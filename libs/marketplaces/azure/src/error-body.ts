import { fieldsOf, isFields, textOf } from './liberal.js';

export interface ForeignError {
  code: string | null;
  message: string;
}

/**
 * The error bodies seen on this host (contract azure §3): `{code,message,details}`, `{message}`, `{Error:{Code,Message}}`,
 * `{error:{code,message}}`, `{error,error_description}` of Entra, a bare JSON string, text, and nothing.
 */
export function readErrorBody(text: string): ForeignError {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return {
      code: null,
      message: shorten(
        text
          .replace(/<[^>]*>/g, ' ')
          .replace(/\s+/g, ' ')
          .trim(),
      ),
    };
  }
  if (typeof body === 'string') return { code: null, message: shorten(body) };
  const top = fieldsOf(body);
  const inner = [top['error'], top['Error']].find(isFields) ?? top;
  const code = textOf(inner['code']) ?? textOf(inner['Code']) ?? textOf(top['error']);
  const message = textOf(inner['message']) ?? textOf(inner['Message']) ?? textOf(top['error_description']) ?? '';
  const details = (Array.isArray(inner['details']) ? inner['details'] : [])
    .map((one) => textOf(fieldsOf(one)['message']))
    .filter((one) => one !== null);
  return { code, message: shorten([message, ...details].filter((one) => one !== '').join(' ')) };
}

const shorten = (text: string): string => (text.length > 500 ? `${text.slice(0, 500)}…` : text);
