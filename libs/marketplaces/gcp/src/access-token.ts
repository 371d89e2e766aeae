import { PubSub } from '@google-cloud/pubsub';
import { MarketplaceBusy, MarketplaceRefusal, timeLimited } from '#marketplaces/core';
import { errorText } from '#platform';
import { fieldsOf } from './liberal.js';
import { type GcpSettings, TIMEOUTS_MS } from './settings.js';

/**
 * The Pub/Sub client. Against the sandbox: plain text, no credentials. In production its own library finds them by Google's
 * usual chain.
 */
export function pubSubOf(settings: GcpSettings): PubSub {
  if (settings.pubsubEndpoint) {
    // Told its universe, the client does not go looking for credentials, which off Google's machines costs seconds and a warning.
    return new PubSub({
      projectId: settings.projectId,
      apiEndpoint: settings.pubsubEndpoint,
      emulatorMode: true,
      clientOptions: { universeDomain: 'googleapis.com' },
    });
  }
  return new PubSub({ projectId: settings.projectId });
}

/** Application default credentials with the scope cloud-platform, by the library that the Pub/Sub client brings. */
export function defaultAccessToken(settings: GcpSettings): () => Promise<string> {
  let client: PubSub | null = null;
  return checkedToken(() => {
    client ??= new PubSub({ projectId: settings.projectId });
    return client.auth.getAccessToken();
  });
}

/**
 * The credential library has no time-out of its own and tells every failure alike. A definite no (a deleted key, a service account
 * that is switched off, no credentials at all) is a refusal, so that a person is told; anything else passes by itself.
 */
export function checkedToken(ask: () => Promise<string | null | undefined>, timeoutMs: number = TIMEOUTS_MS.token): () => Promise<string> {
  return async () => {
    let token: string | null | undefined;
    try {
      token = await timeLimited(ask, timeoutMs);
    } catch (error) {
      if (isDefinite(error)) throw new MarketplaceRefusal('gcp.no_token', `no token: ${errorText(error)}`, 401);
      throw new MarketplaceBusy(`no token: ${errorText(error)}`);
    }
    if (!token) throw new MarketplaceBusy('no token: Google answered none');
    return token;
  };
}

/** What the library says where it finds nothing to ask with. */
const NONE_FOUND = /could not load the default credentials|is not a file|unable to read the credential|no such file|does not exist/i;

function isDefinite(error: unknown): boolean {
  const { status: given, code } = fieldsOf(error instanceof Error ? { ...error } : error);
  const response = fieldsOf(fieldsOf(error instanceof Error ? (error as { response?: unknown }).response : null));
  const status = [response['status'], given, code].map(Number).find((n) => n >= 400 && n < 600);
  if (status !== undefined) return status < 500 && status !== 408 && status !== 429;
  return NONE_FOUND.test(errorText(error));
}

/** Null where the other side wants none. */
export type AuthHeader = () => Promise<string | null>;

export function authHeaderOf(settings: GcpSettings, accessToken: (() => Promise<string>) | undefined): AuthHeader {
  if (settings.anonymous) return async () => null;
  const get = accessToken ?? defaultAccessToken(settings);
  return async () => `Bearer ${await get()}`;
}
