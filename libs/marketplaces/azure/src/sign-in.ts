import type { KeyObject } from 'node:crypto';
import { ConfidentialClientApplication, CryptoProvider } from '@azure/msal-node';
import { z } from 'zod';
import { MarketplaceRefusal, type TokenFault, verifySignedToken } from '#marketplaces/core';
import { AUTHORITY_HOST, GuardedNetwork, type Http, tokenFailure } from './access-token.js';
import { SigningKeys } from './signing-keys.js';

/** Work, school and personal accounts (contract azure §2). */
const EVERYBODY = 'common';
const ISSUER = `https://${AUTHORITY_HOST}/{tenantid}/v2.0`;
const SCOPES = ['openid', 'profile'];
const SKEW_SECONDS = 300;
const timeoutsMs = { read: 5_000, write: 5_000, usage: 5_000, token: 8_000, keys: 4_000 };

export interface SignInSettings {
  authorityUrl: string;
  clientId: string;
  clientSecret: string;
  /** Who signs ID tokens, with the person's directory in place of `{tenantid}`. */
  issuer?: string;
}

/** What the authority has proved of a person. Known again by `personId` in `directoryId`, never by a name or an address. */
export interface SignedInPerson {
  personId: string;
  directoryId: string;
  name: string | null;
  username: string | null;
}

/** What the browser's own cookie keeps between the two halves of a sign-in. */
export interface SignInSecrets {
  state: string;
  nonce: string;
  verifier: string;
}

const claimsSchema = z.object({
  oid: z.string().min(1),
  tid: z.guid(),
  iss: z.string(),
  nonce: z.string(),
  name: z.string().nullish(),
  preferred_username: z.string().nullish(),
});

const FAULTS: Record<TokenFault, string> = {
  no_jwt: 'there is no ID token in the answer',
  algorithm: 'the ID token is not signed with RS256',
  unknown_key: 'the ID token is signed with a key that Entra does not have',
  signature: 'the signature of the ID token is wrong',
  expired: 'the ID token has expired; check the clock of this machine',
  invalid: 'the ID token is not valid',
};

/** People sign in on the landing page: authorization code with PKCE, an app of its own that takes every Microsoft account. */
export class EntraSignIn {
  private readonly client: ConfidentialClientApplication;
  private readonly keys: SigningKeys;
  private readonly crypto = new CryptoProvider();

  constructor(
    private readonly settings: SignInSettings,
    http: Http,
  ) {
    const authority = `https://${AUTHORITY_HOST}/${EVERYBODY}`;
    this.client = new ConfidentialClientApplication({
      auth: {
        clientId: settings.clientId,
        clientSecret: settings.clientSecret,
        authority,
        knownAuthorities: [AUTHORITY_HOST],
        authorityMetadata: JSON.stringify({
          issuer: `https://${AUTHORITY_HOST}/{tenantid}/v2.0`,
          authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
          token_endpoint: `${authority}/oauth2/v2.0/token`,
          jwks_uri: `${authority}/discovery/v2.0/keys`,
        }),
      },
      system: { networkClient: new GuardedNetwork(http, settings.authorityUrl, timeoutsMs.token), disableInternalRetries: true },
    });
    this.keys = new SigningKeys({ authorityUrl: settings.authorityUrl, tenantId: EVERYBODY, timeoutsMs }, http);
  }

  /** Where the browser goes to. Nothing is sent. `chooseAccount`: asks which account even where one is signed in. */
  async begin(redirectUri: string, chooseAccount: boolean): Promise<{ url: string; secrets: SignInSecrets }> {
    const { verifier, challenge } = await this.crypto.generatePkceCodes();
    const secrets = { state: this.crypto.createNewGuid(), nonce: this.crypto.createNewGuid(), verifier };
    const url = await this.client.getAuthCodeUrl({
      scopes: SCOPES,
      redirectUri,
      state: secrets.state,
      nonce: secrets.nonce,
      codeChallenge: challenge,
      codeChallengeMethod: 'S256',
      responseMode: 'query',
      ...(chooseAccount ? { prompt: 'select_account' } : {}),
    });
    return { url: url.replace(`https://${AUTHORITY_HOST}`, this.settings.authorityUrl), secrets };
  }

  /**
   * Redeems the code and checks the ID token: signature, issuer of the very directory it names, audience, life, nonce. Throws
   * `MarketplaceRefusal` (`azure.sign_in_refused`; `azure.unauthorised` where our own application is not believed) or `MarketplaceBusy`.
   */
  async finish(code: string, redirectUri: string, secrets: Pick<SignInSecrets, 'nonce' | 'verifier'>): Promise<SignedInPerson> {
    let idToken: string | undefined;
    try {
      const result = await this.client.acquireTokenByCode({
        code,
        redirectUri,
        scopes: SCOPES,
        codeVerifier: secrets.verifier,
        nonce: secrets.nonce,
      });
      idToken = result.idToken;
    } catch (error) {
      const { errorCode } = error as { errorCode?: string };
      if (errorCode === 'nonce_mismatch') throw refused('the ID token belongs to another sign-in');
      if (errorCode === 'invalid_grant') throw refused('Entra does not take the code: it is used up, too old or of another sign-in');
      throw tokenFailure(error);
    } finally {
      // Nothing is asked in anybody's name later: MSAL shall not keep him.
      this.client.clearCache();
    }
    return this.verify(idToken ?? '', secrets.nonce);
  }

  /** MSAL reads an ID token and does not verify its signature, issuer or audience. */
  async verify(idToken: string, nonce: string): Promise<SignedInPerson> {
    let keyIssuer: string | null = null;
    const find = async (id: string): Promise<KeyObject | null> => {
      const key = await this.keys.find(id);
      keyIssuer = this.keys.issuerOf(id);
      return key;
    };
    const verdict = await verifySignedToken(idToken, find, { skewSeconds: SKEW_SECONDS, required: ['exp', 'iat'] });
    if (!verdict.ok) throw refused(FAULTS[verdict.fault]);
    const { aud } = verdict.claims;
    if (aud !== this.settings.clientId) throw refused('the ID token is meant for another application');
    const claims = claimsSchema.safeParse(verdict.claims);
    if (!claims.success) throw refused(`the ID token lacks ${claims.error.issues.map((i) => i.path.join('.')).join(', ')}`);
    const { oid, tid, iss, name, preferred_username: username } = claims.data;
    // The keys are everybody's: only the issuer tells whose directory speaks.
    if (iss !== issuerFor(this.settings.issuer ?? ISSUER, tid)) throw refused('the ID token is of another issuer');
    // A key may be good for some directories only: that of personal accounts names theirs.
    if (keyIssuer !== null && iss !== issuerFor(keyIssuer, tid)) throw refused('the ID token is signed with a key of another issuer');
    if (claims.data.nonce !== nonce) throw refused('the ID token belongs to another sign-in');
    return { personId: oid.toLowerCase(), directoryId: tid.toLowerCase(), name: name ?? null, username: username ?? null };
  }
}

const issuerFor = (pattern: string, directoryId: string): string => pattern.replace('{tenantid}', directoryId);

const refused = (detail: string): MarketplaceRefusal => new MarketplaceRefusal('azure.sign_in_refused', detail, 401);
