import { createPublicKey, createVerify, X509Certificate, type JsonWebKey, type KeyObject } from 'node:crypto';
import { realNow } from '#platform';

const MAX_KEY_ID = 200;
/** Three parts in base64url; the last may be empty, as that of `none` is. */
const SHAPE = /^[\w-]+\.[\w-]+\.[\w-]*$/;

export type TokenClaims = Record<string, unknown> & {
  iss?: unknown;
  aud?: unknown;
  sub?: unknown;
  exp?: unknown;
  iat?: unknown;
  nbf?: unknown;
};

/** Why a token is not believed; in the order in which it is looked at. */
export type TokenFault = 'no_jwt' | 'algorithm' | 'unknown_key' | 'signature' | 'expired' | 'invalid';
export type TokenVerdict = { ok: true; claims: TokenClaims } | { ok: false; fault: TokenFault };

/**
 * A marketplace's JWT (RFC 8725): RS256 and nothing else, signed by a key that `find` knows by its id, inside its life by the
 * real clock. Keys come from `find` alone: `jku`, `x5u` and an embedded key are never looked at, an extension that must be
 * understood (`crit`) is not. What the claims must say is the caller's. Throws what `find` throws.
 *
 * The signature is checked in this very turn: a thread pool's hand-over costs as much as the check, and a burst of webhooks
 * would queue there (ADR 0018).
 */
export async function verifySignedToken(
  token: string,
  find: (keyId: string) => Promise<KeyObject | null>,
  { skewSeconds, required }: { skewSeconds: number; required: readonly string[] },
): Promise<TokenVerdict> {
  const failed = (fault: TokenFault): TokenVerdict => ({ ok: false, fault });
  const parts = SHAPE.test(token) ? token.split('.') : [];
  const header = headerIn(parts[0]);
  if (!header) return failed('no_jwt');
  if (header['alg'] !== 'RS256') return failed('algorithm');
  if (header['crit'] !== undefined) return failed('invalid');
  const keyId = header['kid'];
  const key = typeof keyId === 'string' && keyId !== '' && keyId.length <= MAX_KEY_ID ? await find(keyId) : null;
  if (!key) return failed('unknown_key');
  if (!isSigned(`${parts[0]}.${parts[1]}`, parts[2]!, key)) return failed('signature');
  // Nothing of the claims is read before their signature holds.
  const claims: TokenClaims | null = objectIn(parts[1]);
  if (!claims || !required.every((name) => claims[name] !== undefined)) return failed('invalid');
  const now = Math.floor(realNow().getTime() / 1_000);
  const { nbf = null, exp = null } = claims;
  if (nbf !== null && !(typeof nbf === 'number' && nbf <= now + skewSeconds)) return failed('invalid');
  if (exp !== null && typeof exp !== 'number') return failed('invalid');
  if (exp !== null && now >= exp + skewSeconds) return failed('expired');
  return { ok: true, claims };
}

/** RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3): `key` is an RSA key, `keyOfJwk` and `keyOfCertificate` make no other. */
function isSigned(text: string, signature: string, key: KeyObject): boolean {
  try {
    return createVerify('RSA-SHA256').update(text).verify(key, Buffer.from(signature, 'base64url'));
  } catch {
    return false;
  }
}

/** One signer writes one header: the last one that was read needs no second reading. It proves nothing, so nothing is trusted for it. */
let last: { part: string; header: Readonly<Record<string, unknown>> } | null = null;

function headerIn(part: string | undefined): Readonly<Record<string, unknown>> | null {
  if (part !== undefined && last?.part === part) return last.header;
  const header = objectIn(part);
  if (part !== undefined && header) last = { part, header };
  return header;
}

function objectIn(part: string | undefined): Record<string, unknown> | null {
  if (part === undefined) return null;
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** The RSA key of a JWK, null where it is none that may sign tokens. */
export function keyOfJwk(jwk: Record<string, unknown>): KeyObject | null {
  if (jwk['kty'] !== 'RSA' || (jwk['use'] !== undefined && jwk['use'] !== 'sig')) return null;
  try {
    // The public half only, also where a list shows more.
    return createPublicKey({ key: { kty: 'RSA', n: jwk['n'], e: jwk['e'] } as JsonWebKey, format: 'jwk' });
  } catch {
    return null;
  }
}

/** The RSA key of a certificate in PEM, null where it is none. */
export function keyOfCertificate(pem: string): KeyObject | null {
  try {
    const key = new X509Certificate(pem).publicKey;
    return key.asymmetricKeyType === 'rsa' ? key : null;
  } catch {
    return null;
  }
}
