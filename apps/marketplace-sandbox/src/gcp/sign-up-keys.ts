import { createPrivateKey, createPublicKey, generateKeyPairSync, type JsonWebKey, randomBytes } from 'node:crypto';
import { SignJWT } from 'jose';
import type { Store, Table } from '../shared/store.js';
import { selfSignedCertificate } from '../shared/x509.js';

export const SIGNER = 'cloud-commerce-partner@system.gserviceaccount.com';
export const ISSUER = `https://www.googleapis.com/robot/v1/metadata/x509/${SIGNER}`;

interface StoredKey {
  kid: string;
  privateJwk: JsonWebKey;
  certificate: string;
  sequence: number;
}

const DAY_MS = 86_400_000;

/** Google's keys for sign-up tokens, or for OIDC tokens; they survive a restart, as clients keep them. Life and signatures use real time. */
export class SignUpKeys {
  private readonly table: Table<StoredKey>;

  constructor(
    store: Store,
    table = 'gcp.keys',
    private readonly signer = SIGNER,
  ) {
    this.table = store.table(table);
  }

  /** A new signing key; the last three stay published. */
  rotate(): string {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const kid = randomBytes(20).toString('hex');
    const sequence = Math.max(0, ...this.table.values().map((one) => one.sequence)) + 1;
    const certificate = selfSignedCertificate({
      privateKey,
      commonName: this.signer.replace('@', '.'),
      serial: Buffer.concat([Buffer.from([1]), randomBytes(7)]),
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + 3650 * DAY_MS),
    });
    this.table.put(kid, { kid, privateJwk: privateKey.export({ format: 'jwk' }), certificate, sequence });
    for (const old of bySequence(this.table).slice(0, -3)) this.table.delete(old.kid);
    return kid;
  }

  get currentKid(): string {
    return this.sorted().at(-1)?.kid ?? '';
  }

  certificates(): Record<string, string> {
    return Object.fromEntries(this.sorted().map((one) => [one.kid, one.certificate]));
  }

  jwks(): { keys: object[] } {
    return {
      keys: this.sorted().map(({ kid, privateJwk }) => {
        const { n, e } = createPublicKey(createPrivateKey({ key: privateJwk, format: 'jwk' })).export({ format: 'jwk' });
        return { kty: 'RSA', alg: 'RS256', use: 'sig', kid, n, e };
      }),
    };
  }

  sign(claims: Record<string, unknown>, asStranger = false): Promise<string> {
    const current = this.sorted().at(-1);
    if (!current) throw new Error('there is a signing key');
    // Our key id over a stranger's signature: passes everybody who reads claims and checks nothing.
    const key = asStranger
      ? generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
      : createPrivateKey({ key: current.privateJwk, format: 'jwk' });
    return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: current.kid }).sign(key);
  }

  /** Two keys are there as soon as anybody asks: making them takes longer than all the rest of the sandbox's start. */
  private sorted(): StoredKey[] {
    while (this.table.size < 2) this.rotate();
    return bySequence(this.table);
  }
}

const bySequence = (table: Table<StoredKey>): StoredKey[] => table.values().sort((a, b) => a.sequence - b.sequence);
