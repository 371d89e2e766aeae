import { createCipheriv, createDecipheriv, createHash, createHmac, hash, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';

export const sha256Hex = (data: string | Buffer): string => hash('sha256', data, 'hex');

/** Constant-time comparison of two texts of any length. */
export function sameSecret(a: string, b: string): boolean {
  const h = (s: string): Buffer => createHash('sha256').update(s).digest();
  return timingSafeEqual(h(a), h(b));
}

/** A purpose-bound key or password derived from the installation's secret: one secret to keep, none to share. */
export const deriveSecret = (secret: string, purpose: string): string =>
  createHmac('sha256', secret).update(`berth/${purpose}`).digest('base64url');

/** Stated, or a value with a tag cut to 4 bytes would be tried. */
const TAG = { authTagLength: 16 };

/**
 * Encrypts small secrets at rest (AES-256-GCM). The sealed text names its key version; `purpose` is authenticated, so a
 * value sealed for one column cannot be moved to another.
 */
export class Sealer {
  private readonly key: Buffer;

  constructor(secret: string) {
    this.key = Buffer.from(hkdfSync('sha256', secret, 'berth', 'sealer/v1', 32));
  }

  seal(plain: string, purpose: string): string {
    const iv = randomBytes(12);
    const c = createCipheriv('aes-256-gcm', this.key, iv, TAG).setAAD(Buffer.from(purpose));
    const body = Buffer.concat([c.update(plain, 'utf8'), c.final()]);
    return `v1.${iv.toString('base64url')}.${c.getAuthTag().toString('base64url')}.${body.toString('base64url')}`;
  }

  open(sealed: string, purpose: string): string {
    const [version, iv, tag, body] = sealed.split('.');
    if (version !== 'v1' || !iv || !tag || body === undefined) throw new Error('not a sealed value');
    const d = createDecipheriv('aes-256-gcm', this.key, Buffer.from(iv, 'base64url'), TAG)
      .setAAD(Buffer.from(purpose))
      .setAuthTag(Buffer.from(tag, 'base64url'));
    return Buffer.concat([d.update(Buffer.from(body, 'base64url')), d.final()]).toString('utf8');
  }
}

/** Text that JSON writes as it is: no quote, no backslash, nothing that is not printable ASCII. */
const PLAIN = /^[ !#-[\]-~]*$/;
const quoted = (text: string): string => (PLAIN.test(text) ? `"${text}"` : JSON.stringify(text));

/**
 * The canonical JSON of a value: keys sorted, no spaces, `bigint` as decimal text, `Date` as UTC text. Hashes and
 * content comparisons are made over it.
 */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'bigint') return `"${value}"`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null);
  if (value instanceof Date) return `"${value.toISOString()}"`;
  let text = '';
  if (Array.isArray(value)) {
    for (const v of value) text += (text === '' ? '' : ',') + canonicalJson(v ?? null);
    return `[${text}]`;
  }
  for (const key of Object.keys(value).sort()) {
    const v = (value as Record<string, unknown>)[key];
    if (v !== undefined) text += `${text === '' ? '' : ','}${quoted(key)}:${canonicalJson(v)}`;
  }
  return `{${text}}`;
}
