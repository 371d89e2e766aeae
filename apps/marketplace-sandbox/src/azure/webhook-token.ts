import { randomUUID } from 'node:crypto';
import { type EntraKeys, realSeconds } from './entra-keys.js';
import { type AzureOffer, type AzureSettings, tenantOfOffer } from './settings.js';
import { MARKETPLACE_APP_ID } from './types.js';

export const forgeries = [
  'none',
  'no_token',
  'wrong_key',
  'alg_none',
  'hs256',
  'wrong_audience',
  'wrong_appid',
  'wrong_tenant',
  'wrong_issuer',
  'expired',
  'future',
  'captured',
] as const;
export type Forgery = (typeof forgeries)[number];

const STRANGER = '00000000-dead-4000-8000-00000000beef';

/** Makes the Entra token a webhook carries (contract azure §4, "JWT validation"), or a named forgery of it. */
export class WebhookTokens {
  private minted = 0;

  constructor(
    private readonly keys: EntraKeys,
    private readonly settings: () => AzureSettings,
  ) {}

  async mint(offer: AzureOffer, forge: Forgery = 'none', skewMs = 0): Promise<string | undefined> {
    if (forge === 'no_token') return undefined;
    const settings = this.settings();
    const version = settings.webhookTokenVersion === 'alternate' ? (this.minted++ % 2 === 0 ? 'v1' : 'v2') : settings.webhookTokenVersion;
    const tid = forge === 'wrong_tenant' ? STRANGER : tenantOfOffer(settings, offer);
    const appId = forge === 'wrong_appid' ? STRANGER : MARKETPLACE_APP_ID;
    const now = realSeconds() + Math.round(skewMs / 1000);
    const issuedAt = forge === 'expired' ? now - 7200 : forge === 'future' ? now + 3600 : now;
    const authority = forge === 'wrong_issuer' ? STRANGER : tid;
    // What our client sends with its own calls, taken from the wire: genuine, of this tenant, and meant for somebody else.
    if (forge === 'captured') return this.keys.sign(apiToken(offer.clientId, tid, now));
    const common = {
      aud: forge === 'wrong_audience' ? STRANGER : offer.clientId,
      iat: issuedAt,
      nbf: issuedAt,
      exp: issuedAt + 3600,
      tid,
      uti: randomUUID(),
    };
    const claims =
      version === 'v1'
        ? { ...common, iss: `https://sts.windows.net/${authority}/`, appid: appId, appidacr: '2', ver: '1.0' }
        : { ...common, iss: `https://login.microsoftonline.com/${authority}/v2.0`, azp: appId, azpacr: '2', ver: '2.0' };
    if (forge === 'alg_none') return this.keys.signNothing(claims);
    if (forge === 'hs256') return this.keys.signWithPublished(claims);
    return forge === 'wrong_key' ? this.keys.signAsStranger(claims) : this.keys.sign(claims);
  }
}

const apiToken = (clientId: string, tid: string, now: number): Record<string, unknown> => ({
  aud: MARKETPLACE_APP_ID,
  iss: `https://sts.windows.net/${tid}/`,
  iat: now,
  nbf: now,
  exp: now + 3600,
  appid: clientId,
  appidacr: '1',
  tid,
  ver: '1.0',
  uti: randomUUID(),
});
