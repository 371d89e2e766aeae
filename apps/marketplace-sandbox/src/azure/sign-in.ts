import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { Store, Table } from '../shared/store.js';
import { type EntraKeys, realSeconds } from './entra-keys.js';
import { EntraRefusal, type Form, required } from './entra-refusal.js';
import type { AzureSettings, Person } from './settings.js';

/** Personal Microsoft accounts live in this tenant (contract azure §2). */
const PERSONAL = '9188040d-6c67-4c5b-b112-36a304b66dad';
const CODE_SECONDS = 600;

export interface Account extends Person {
  name: string;
}

/** Somebody whom no purchase names: works at a company of his own. */
const STRANGER: Account = {
  name: 'Nobody in particular',
  emailId: 'visitor@elsewhere.example',
  objectId: '7c1d0e2f-3a4b-4c5d-8e6f-708192a3b4c5',
  tenantId: '1f2e3d4c-5b6a-4798-8a90-b1c2d3e4f506',
  puid: null,
};

interface Code {
  clientId: string;
  redirectUri: string;
  scope: string;
  nonce: string | null;
  challenge: string;
  account: Account;
  expiresAt: number;
  redeemed: boolean;
}

/** People who sign in: the authorization-code flow with PKCE of the Microsoft identity platform, for the landing page's own app. */
export class SignIn {
  private readonly codes: Table<Code>;

  constructor(
    store: Store,
    private readonly keys: EntraKeys,
    private readonly settings: () => AzureSettings,
    /** Everyone whom a purchase names. */
    private readonly named: () => Person[],
  ) {
    this.codes = store.table<Code>('azure.signInCodes');
  }

  /** Who can be picked on the page of this tenant (`common`, `organizations`, `consumers` or an id). */
  accounts(tenant: string): Account[] {
    const known = this.settings().buyers.flatMap(({ name, beneficiary, purchaser }) => [
      { ...beneficiary, name: `Buyer at ${name}` },
      ...(purchaser ? [{ ...purchaser, name: `Reseller of ${name}` }] : []),
    ]);
    const all = new Map<string, Account>();
    for (const one of [...known, ...this.named().map((p) => ({ ...p, name: p.emailId })), STRANGER])
      if (!all.has(one.objectId)) all.set(one.objectId, one);
    return [...all.values()].filter(({ tenantId }) =>
      tenant === 'common'
        ? true
        : tenant === 'consumers'
          ? tenantId === PERSONAL
          : tenant === 'organizations'
            ? tenantId !== PERSONAL
            : tenantId === tenant,
    );
  }

  /** Throws where the real one shows its own error page: nothing is ever sent to an address that is not registered. */
  check(query: Form): { redirectUri: string; clientId: string } {
    const clientId = required(query, 'client_id');
    const app = this.settings().signIn;
    if (app?.clientId !== clientId)
      throw new EntraRefusal(
        400,
        'unauthorized_client',
        700016,
        `Application with identifier '${clientId}' was not found in the directory.`,
      );
    const redirectUri = required(query, 'redirect_uri');
    if (!app.redirectUris.includes(redirectUri))
      throw new EntraRefusal(
        400,
        'invalid_request',
        50011,
        `The redirect URI '${redirectUri}' specified in the request does not match the redirect URIs configured for the application '${clientId}'.`,
      );
    if (required(query, 'response_type') !== 'code')
      throw new EntraRefusal(400, 'unsupported_response_type', 700054, "response_type 'id_token' is not enabled for the application.");
    if (!required(query, 'scope').split(' ').includes('openid'))
      throw new EntraRefusal(400, 'invalid_request', 90014, "The required scope 'openid' is missing.");
    if (query['response_mode'] && query['response_mode'] !== 'query')
      throw new EntraRefusal(400, 'invalid_request', 900144, 'The sandbox answers response_mode query only.');
    if (query['code_challenge_method'] !== 'S256' || !/^[A-Za-z0-9_-]{43}$/.test(query['code_challenge'] ?? ''))
      throw new EntraRefusal(400, 'invalid_request', 501491, 'Invalid size of Code_Challenge parameter.');
    return { redirectUri, clientId };
  }

  /** The address the browser is sent to once somebody was picked, or declined. */
  answer(tenant: string, query: Form, objectId: string | undefined): string {
    const { redirectUri, clientId } = this.check(query);
    const to = new URL(redirectUri);
    if (query['state']) to.searchParams.set('state', query['state']);
    if (!objectId) {
      to.searchParams.set('error', 'access_denied');
      to.searchParams.set('error_description', 'AADSTS65004: User declined to consent to access the app.');
      return to.href;
    }
    const account = this.accounts(tenant).find((one) => one.objectId === objectId);
    if (!account)
      throw new EntraRefusal(400, 'invalid_request', 50020, 'This account does not exist in the tenant and cannot be used to sign in.');
    const code = `0.${randomBytes(48).toString('base64url')}`;
    this.codes.put(digest(code), {
      clientId,
      redirectUri,
      scope: query['scope']!,
      nonce: query['nonce'] ?? null,
      challenge: query['code_challenge']!,
      account,
      expiresAt: realSeconds() + CODE_SECONDS,
      redeemed: false,
    });
    to.searchParams.set('code', code);
    to.searchParams.set('session_state', randomUUID());
    return to.href;
  }

  /** The token endpoint's answer to `grant_type=authorization_code`. A code serves once. */
  async redeem(form: Form): Promise<Record<string, unknown>> {
    const app = this.settings().signIn;
    const clientId = required(form, 'client_id');
    if (app?.clientId !== clientId)
      throw new EntraRefusal(
        400,
        'unauthorized_client',
        700016,
        `Application with identifier '${clientId}' was not found in the directory.`,
      );
    if (form['client_secret'] !== app.clientSecret)
      throw new EntraRefusal(401, 'invalid_client', 7000215, 'Invalid client secret provided.');
    const key = digest(required(form, 'code'));
    const code = this.codes.get(key);
    if (!code || code.clientId !== clientId)
      throw new EntraRefusal(400, 'invalid_grant', 9002313, 'Invalid request. Request is malformed or invalid.');
    if (code.redeemed)
      throw new EntraRefusal(
        400,
        'invalid_grant',
        54005,
        'OAuth2 Authorization code was already redeemed, please retry with a new valid code.',
      );
    if (code.expiresAt <= realSeconds())
      throw new EntraRefusal(
        400,
        'invalid_grant',
        70008,
        'The provided authorization code or refresh token has expired due to inactivity.',
      );
    if (required(form, 'redirect_uri') !== code.redirectUri)
      throw new EntraRefusal(
        400,
        'invalid_grant',
        500112,
        'The reply address does not match the reply address provided when requesting Authorization code.',
      );
    const verifier = required(form, 'code_verifier');
    if (createHash('sha256').update(verifier).digest('base64url') !== code.challenge)
      throw new EntraRefusal(
        400,
        'invalid_grant',
        501481,
        'The Code_Verifier does not match the code_challenge supplied in the authorization request.',
      );
    this.codes.put(key, { ...code, redeemed: true });
    const now = realSeconds();
    const { account } = code;
    const idToken = await this.keys.sign({
      aud: clientId,
      iss: `https://login.microsoftonline.com/${account.tenantId}/v2.0`,
      iat: now,
      nbf: now,
      exp: now + this.settings().tokenLifetimeSeconds,
      name: account.name,
      ...(code.nonce === null ? {} : { nonce: code.nonce }),
      oid: account.objectId,
      preferred_username: account.emailId,
      // Another value for each app: nothing that could be compared across apps.
      sub: createHash('sha256').update(`${clientId}|${account.objectId}`).digest('base64url'),
      tid: account.tenantId,
      uti: randomUUID(),
      ver: '2.0',
    });
    return {
      token_type: 'Bearer',
      scope: code.scope,
      expires_in: 3599,
      ext_expires_in: 3599,
      access_token: randomBytes(32).toString('base64url'),
      id_token: idToken,
      ...(form['client_info'] === '1'
        ? { client_info: Buffer.from(JSON.stringify({ uid: account.objectId, utid: account.tenantId })).toString('base64url') }
        : {}),
    };
  }
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
