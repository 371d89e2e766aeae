import { createCipheriv, createDecipheriv, createHmac, hash, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';

export const sha256Hex = (data: string | Buffer): string => hash('sha256', data, 'hex');

/** Constant-time comparison of two texts of any length. */
export function sameSecret(a: string, b: string): boolean {
  return timingSafeEqual(hash('sha256', a, 'buffer'), hash('sha256', b, 'buffer'));
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

/**
 * The canonical JSON of a value: keys sorted, no spaces, `bigint` as decimal text, `Date` as UTC text. Hashes and
 * content comparisons are made over it, also with those of rows that were stored long ago: it must not change.
 */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'bigint') return `"${value}"`;
  if (value instanceof Date) return quoted(value.toISOString());
  if (Array.isArray(value)) {
    let text = '';
    for (let i = 0; i < value.length; i++) text += (i > 0 ? ',' : '') + canonicalJson(value[i] ?? null);
    return `[${text}]`;
  }
  if (value && typeof value === 'object') {
    const { sorted, heads } = shapeOf(Object.keys(value));
    let text = '';
    for (let i = 0; i < sorted.length; i++) {
      const field = (value as Record<string, unknown>)[sorted[i]!];
      if (field !== undefined) text += (text === '' ? '' : ',') + heads[i]! + canonicalJson(field);
    }
    return `{${text}}`;
  }
  return JSON.stringify(value ?? null) ?? '';
}

/** What JSON escapes is rare; text without it is taken as it is. */
const quoted = (text: string): string => (/^[ !#-[\]-~]*$/.test(text) ? `"${text}"` : JSON.stringify(text));

interface Shape {
  keys: string[];
  sorted: string[];
  /** `"key":` of each. */
  heads: string[];
}

/** The last list of keys of each length: whoever asks for many values asks for many of one kind, and sorting costs the most. */
const shapes: (Shape | undefined)[] = [];
const LONGEST_SHAPE = 64;

function shapeOf(keys: string[]): Shape {
  const last = shapes[keys.length];
  if (last && isSame(keys, last.keys)) return last;
  const sorted = keys.toSorted();
  const shape = { keys, sorted, heads: sorted.map((key) => `${JSON.stringify(key)}:`) };
  if (keys.length <= LONGEST_SHAPE) shapes[keys.length] = shape;
  return shape;
}

function isSame(some: readonly string[], others: readonly string[]): boolean {
  for (let i = 0; i < some.length; i++) if (some[i] !== others[i]) return false;
  return true;
}
