import { createPublicKey, type JsonWebKey, randomUUID } from 'node:crypto';
import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK, type JWTHeaderParameters, SignJWT } from 'jose';
import { ControlError } from '../shared/http.js';
import type { Store, Table } from '../shared/store.js';

interface StoredKey {
  kid: string;
  privateJwk: JWK;
}

interface Key {
  kid: string;
  key: CryptoKey;
  publicJwk: JWK;
}

/** Published are all three: Entra shows a key before it signs with it, and for a while after. */
const PLACES = ['signing', 'next', 'previous'] as const;
type Place = (typeof PLACES)[number];
export const rotationSteps = ['announce', 'switch', 'withdraw'] as const;

/** The signing keys of the invented Entra; they survive a restart, as clients cache JWKS. */
export class EntraKeys {
  private readonly keys = new Map<Place, Key>();

  private constructor(private readonly table: Table<StoredKey>) {}

  static async open(store: Store): Promise<EntraKeys> {
    const keys = new EntraKeys(store.table<StoredKey>('azure.entraKeys'));
    for (const place of PLACES) await keys.load(place);
    if (!keys.keys.has('signing')) await keys.make('signing');
    return keys;
  }

  /** `announce` publishes a new key, `switch` signs with it from now on, `withdraw` publishes the former one no more. */
  async rotate(step: (typeof rotationSteps)[number]): Promise<string[]> {
    const needs = (place: Place, first: string): void => {
      if (!this.table.get(place)) throw new ControlError(409, 'keys.order', `There is no ${place} key: ${first} first.`);
    };
    if (step === 'announce') await this.make('next');
    else if (step === 'switch') {
      needs('next', 'announce');
      this.table.put('previous', this.table.get('signing')!);
      this.table.put('signing', this.table.get('next')!);
      this.table.delete('next');
      for (const place of PLACES) await this.load(place);
    } else {
      needs('previous', 'switch');
      this.table.delete('previous');
      this.keys.delete('previous');
    }
    return this.jwks().keys.map(({ kid }) => kid!);
  }

  jwks(): { keys: JWK[] } {
    return { keys: [...this.keys.values()].map(({ publicJwk }) => publicJwk) };
  }

  /** For jose: the published key that a token names. */
  readonly find = async ({ kid }: JWTHeaderParameters | { kid?: string }): Promise<CryptoKey> => {
    const found = [...this.keys.values()].find((one) => one.kid === kid);
    if (!found) throw new Error('the token is signed with a key that is not published');
    return (await importJWK(found.publicJwk, 'RS256')) as CryptoKey;
  };

  sign(claims: Record<string, unknown>): Promise<string> {
    return this.signWith(this.current.key, claims);
  }

  /** Our key id over a stranger's signature: passes everybody who reads claims and checks nothing. */
  async signAsStranger(claims: Record<string, unknown>): Promise<string> {
    const { privateKey } = await generateKeyPair('RS256');
    return this.signWith(privateKey, claims);
  }

  /** Says of itself that it needs no signature. */
  signNothing(claims: Record<string, unknown>): string {
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    return `${part({ typ: 'JWT', alg: 'none', kid: this.current.kid })}.${part(claims)}.AA`;
  }

  /** Our published key as a shared secret: passes a verifier that lets the token choose how it is checked. */
  signWithPublished(claims: Record<string, unknown>): Promise<string> {
    const { kid, publicJwk } = this.current;
    const pem = createPublicKey({ key: publicJwk as JsonWebKey, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    return new SignJWT(claims).setProtectedHeader({ typ: 'JWT', alg: 'HS256', kid }).sign(Buffer.from(pem));
  }

  private get current(): Key {
    return this.keys.get('signing')!;
  }

  private async make(place: Place): Promise<void> {
    const { privateKey } = await generateKeyPair('RS256', { extractable: true });
    this.table.put(place, { kid: randomUUID().replaceAll('-', ''), privateJwk: await exportJWK(privateKey) });
    await this.load(place);
  }

  private async load(place: Place): Promise<void> {
    const stored = this.table.get(place);
    this.keys.delete(place);
    if (!stored) return;
    const { kid, privateJwk } = stored;
    const { kty, n, e } = privateJwk;
    const key = (await importJWK(privateJwk, 'RS256')) as CryptoKey;
    this.keys.set(place, { kid, key, publicJwk: { kty, use: 'sig', kid, x5t: kid, n, e } });
  }

  private signWith(key: CryptoKey, claims: Record<string, unknown>): Promise<string> {
    const { kid } = this.current;
    return new SignJWT(claims).setProtectedHeader({ typ: 'JWT', alg: 'RS256', x5t: kid, kid }).sign(key);
  }
}

/** Signatures and token life use real time; the virtual clock never touches them. */
export function realSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
