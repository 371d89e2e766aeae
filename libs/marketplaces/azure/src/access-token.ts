import {
  type AuthenticationResult,
  ConfidentialClientApplication,
  type INetworkModule,
  type NetworkRequestOptions,
  type NetworkResponse,
} from '@azure/msal-node';
import { MarketplaceBusy, MarketplaceRefusal } from '#marketplaces/core';
import { errorText, type GuardedHttp, HttpTransportError, realNow } from '#platform';
import type { AzureSettings } from './settings.js';

/** MSAL knows only https authorities; this name never leaves the process unless it is also the configured one. */
export const AUTHORITY_HOST = 'login.microsoftonline.com';
const EARLY_MS = 5 * 60_000;

export type Http = Pick<GuardedHttp, 'request'>;

/** Sends MSAL's requests to the configured authority, through the one guarded client. */
export class GuardedNetwork implements INetworkModule {
  constructor(
    private readonly http: Http,
    private readonly authorityUrl: string,
    private readonly timeoutMs: number,
  ) {}

  sendGetRequestAsync<T>(url: string, options?: NetworkRequestOptions): Promise<NetworkResponse<T>> {
    return this.send<T>('GET', url, options);
  }

  sendPostRequestAsync<T>(url: string, options?: NetworkRequestOptions): Promise<NetworkResponse<T>> {
    return this.send<T>('POST', url, options);
  }

  private async send<T>(method: 'GET' | 'POST', url: string, options: NetworkRequestOptions | undefined): Promise<NetworkResponse<T>> {
    const asked = new URL(url);
    if (asked.host !== AUTHORITY_HOST) throw new HttpTransportError('http.not_allowed', `${asked.host} is not the authority`, false);
    const answer = await this.http.request({
      method,
      url: `${this.authorityUrl}${asked.pathname}${asked.search}`,
      headers: { ...options?.headers },
      body: options?.body,
      timeoutMs: this.timeoutMs,
      maxBytes: 256 * 1024,
    });
    let body: unknown;
    try {
      body = JSON.parse(answer.text);
    } catch {
      body = { error: 'invalid_answer', error_description: `HTTP ${answer.status} without JSON` };
    }
    return { status: answer.status, headers: answer.headers, body: body as T };
  }
}

/** Our token for the marketplace API: kept until five minutes before its end, asked for once however many wait. */
export class AccessTokens {
  private readonly client: ConfidentialClientApplication;
  private kept: { text: string; renewAtMs: number } | null = null;
  private pending: Promise<string> | null = null;

  constructor(
    private readonly settings: AzureSettings,
    http: Http,
    /** Whom the token is for. */
    private readonly resource: string = settings.marketplaceAppId,
  ) {
    const authority = `https://${AUTHORITY_HOST}/${settings.tenantId}`;
    this.client = new ConfidentialClientApplication({
      auth: {
        clientId: settings.clientId,
        clientSecret: settings.clientSecret,
        authority,
        knownAuthorities: [AUTHORITY_HOST],
        authorityMetadata: JSON.stringify({
          issuer: `${authority}/v2.0`,
          authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
          token_endpoint: `${authority}/oauth2/v2.0/token`,
          jwks_uri: `${authority}/discovery/v2.0/keys`,
        }),
      },
      // Retrying is ours: a wrong secret must not be tried three times in a row.
      system: { networkClient: new GuardedNetwork(http, settings.authorityUrl, settings.timeoutsMs.token), disableInternalRetries: true },
    });
  }

  /** `refused` is a token the API has just answered 401 to. */
  async get(refused?: string): Promise<string> {
    if (this.kept && this.kept.text !== refused && this.kept.renewAtMs > realNow().getTime()) return this.kept.text;
    this.pending ??= this.acquire().finally(() => {
      this.pending = null;
    });
    return this.pending;
  }

  private async acquire(): Promise<string> {
    let result: AuthenticationResult | null;
    try {
      // Always anew: what MSAL keeps beside us would give a refused token back.
      result = await this.client.acquireTokenByClientCredential({
        scopes: [`${this.resource}/.default`],
        skipCache: true,
      });
    } catch (error) {
      throw tokenFailure(error);
    }
    if (!result?.accessToken) throw new MarketplaceBusy('the authority answered without a token');
    this.kept = { text: result.accessToken, renewAtMs: (result.expiresOn?.getTime() ?? 0) - EARLY_MS };
    return result.accessToken;
  }
}

/** Nothing has reached the marketplace yet, so this is never `unknown`. */
export function tokenFailure(error: unknown): Error {
  const code = (error as { errorCode?: string }).errorCode ?? '';
  const text = errorText(error).split(/ Trace ID:| Correlation ID:/)[0] ?? '';
  const definite = [
    'invalid_client',
    'unauthorized_client',
    'invalid_request',
    'invalid_scope',
    'invalid_resource',
    'invalid_grant',
    'access_denied',
  ].includes(code);
  return definite ? new MarketplaceRefusal('azure.unauthorised', text, 401) : new MarketplaceBusy(`no token: ${text}`);
}
