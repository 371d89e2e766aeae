import { randomUUID } from 'node:crypto';
import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import type { Store } from '../shared/store.js';

interface StoredKey {
  kid: string;
  privateJwk: JWK;
}

/** The signing key of the invented Entra; it survives a restart, as clients cache JWKS. */
export class EntraKeys {
  private constructor(
    private readonly kid: string,
    private readonly key: CryptoKey,
    private readonly publicJwk: JWK,
  ) {}

  static async open(store: Store): Promise<EntraKeys> {
    const table = store.table<StoredKey>('azure.entraKeys');
    let stored = table.get('signing');
    if (!stored) {
      const { privateKey } = await generateKeyPair('RS256', { extractable: true });
      stored = table.put('signing', { kid: randomUUID().replaceAll('-', ''), privateJwk: await exportJWK(privateKey) });
    }
    const { kty, n, e } = stored.privateJwk;
    const key = (await importJWK(stored.privateJwk, 'RS256')) as CryptoKey;
    return new EntraKeys(stored.kid, key, { kty, use: 'sig', kid: stored.kid, x5t: stored.kid, n, e });
  }

  jwks(): { keys: JWK[] } {
    return { keys: [this.publicJwk] };
  }

  async verificationKey(): Promise<CryptoKey> {
    return (await importJWK(this.publicJwk, 'RS256')) as CryptoKey;
  }

  sign(claims: Record<string, unknown>): Promise<string> {
    return this.signWith(this.key, claims);
  }

  /** Our key id over a stranger's signature: passes everybody who reads claims and checks nothing. */
  async signAsStranger(claims: Record<string, unknown>): Promise<string> {
    const { privateKey } = await generateKeyPair('RS256');
    return this.signWith(privateKey, claims);
  }

  private signWith(key: CryptoKey, claims: Record<string, unknown>): Promise<string> {
    return new SignJWT(claims).setProtectedHeader({ typ: 'JWT', alg: 'RS256', x5t: this.kid, kid: this.kid }).sign(key);
  }
}

/** Signatures and token life use real time; the virtual clock never touches them. */
export function realSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
