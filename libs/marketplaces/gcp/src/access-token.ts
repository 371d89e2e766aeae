import { PubSub } from '@google-cloud/pubsub';
import { MarketplaceBusy } from '#marketplaces/core';
import { errorText } from '#platform';
import type { GcpSettings } from './settings.js';

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
  return async () => {
    client ??= new PubSub({ projectId: settings.projectId });
    let token: string | null | undefined;
    try {
      token = await client.auth.getAccessToken();
    } catch (error) {
      throw new MarketplaceBusy(`no token: ${errorText(error)}`);
    }
    if (!token) throw new MarketplaceBusy('no token: Google answered none');
    return token;
  };
}

/** Null where the other side wants none. */
export type AuthHeader = () => Promise<string | null>;

export function authHeaderOf(settings: GcpSettings, accessToken: (() => Promise<string>) | undefined): AuthHeader {
  if (settings.anonymous) return async () => null;
  const get = accessToken ?? defaultAccessToken(settings);
  return async () => `Bearer ${await get()}`;
}
