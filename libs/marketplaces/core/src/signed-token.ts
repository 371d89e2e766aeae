import { createPublicKey, X509Certificate, type JsonWebKey, type KeyObject } from 'node:crypto';
import jwt from 'jsonwebtoken';
import { realNow } from '#platform';

const MAX_KEY_ID = 200;

export type TokenClaims = Record<string, unknown> & { iss?: unknown; aud?: unknown; sub?: unknown; exp?: unknown; iat?: unknown };

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
  const header = headerOf(token);
  if (!header) return failed('no_jwt');
  if (header['alg'] !== 'RS256') return failed('algorithm');
  if (header['crit'] !== undefined) return failed('invalid');
  const keyId = header['kid'];
  const key = typeof keyId === 'string' && keyId !== '' && keyId.length <= MAX_KEY_ID ? await find(keyId) : null;
  if (!key) return failed('unknown_key');
  let claims: unknown;
  try {
    claims = jwt.verify(token, key, {
      algorithms: ['RS256'],
      clockTolerance: skewSeconds,
      clockTimestamp: Math.floor(realNow().getTime() / 1_000),
    });
  } catch (error) {
    if (error instanceof jwt.TokenExpiredError) return failed('expired');
    return failed(error instanceof jwt.JsonWebTokenError && error.message === 'invalid signature' ? 'signature' : 'invalid');
  }
  if (claims === null || typeof claims !== 'object' || Array.isArray(claims)) return failed('invalid');
  const given = claims as TokenClaims;
  return required.every((name) => given[name] !== undefined) ? { ok: true, claims: given } : failed('invalid');
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

function headerOf(token: string): Record<string, unknown> | null {
  try {
    const parts = token.split('.');
    const header: unknown = parts.length === 3 ? JSON.parse(Buffer.from(parts[0]!, 'base64url').toString('utf8')) : null;
    return header !== null && typeof header === 'object' && !Array.isArray(header) ? (header as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
