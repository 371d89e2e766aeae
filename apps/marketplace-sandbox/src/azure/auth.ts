import type { FastifyRequest } from 'fastify';
import { jwtVerify } from 'jose';
import type { EntraKeys } from './entra-keys.js';
import { AzureError, apiVersionError, forbidden, unauthorized } from './errors.js';
import { type AzureOffer, type AzureSettings, offerOf, tenantOfOffer } from './settings.js';
import { API_VERSION, MARKETPLACE_APP_ID } from './types.js';

export interface AzureCaller {
  tenantId: string;
  clientId: string;
}

declare module 'fastify' {
  interface FastifyRequest {
    azureCaller?: AzureCaller;
  }
}

export function requireApiVersion(request: FastifyRequest): void {
  const given = (request.query as Record<string, string | undefined>)['api-version'];
  if (given !== API_VERSION) throw apiVersionError(given);
}

/** Newer documents say 401 for a bad token, older ones and the running service 403 (contract azure §3). */
export async function authenticate(request: FastifyRequest, keys: EntraKeys, settings: AzureSettings): Promise<AzureCaller> {
  const refuse = (message: string): AzureError => (settings.quirks === 'observed' ? forbidden() : unauthorized(message));
  const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (!token) throw refuse('The authorization token is missing.');
  try {
    const { payload } = await jwtVerify(token, keys.find, {
      audience: MARKETPLACE_APP_ID,
      algorithms: ['RS256'],
      requiredClaims: ['exp', 'tid'],
    });
    const clientId = payload['appid'] ?? payload['azp'];
    // A webhook token of ours has the same signer but another audience; an app's own token names the app.
    if (typeof clientId !== 'string' || typeof payload['tid'] !== 'string') throw refuse('The authorization token names no application.');
    return { tenantId: payload['tid'], clientId };
  } catch (error) {
    if (error instanceof AzureError) throw error;
    throw refuse('The authorization token is invalid or expired.');
  }
}

export function callerOf(request: FastifyRequest): AzureCaller {
  if (!request.azureCaller) throw unauthorized('The authorization token is missing.');
  return request.azureCaller;
}

/** Only the app typed into the offer's Technical configuration may act on it (contract azure §1). */
export function isAppOf(caller: AzureCaller, offer: AzureOffer | undefined, settings: AzureSettings): boolean {
  return offer !== undefined && offer.clientId === caller.clientId && tenantOfOffer(settings, offer) === caller.tenantId;
}

export function requireAppOf(caller: AzureCaller, offerId: string, settings: AzureSettings): AzureOffer {
  const offer = offerOf(settings, offerId);
  if (!offer || !isAppOf(caller, offer, settings)) throw forbidden();
  return offer;
}

/** List shows every offer of the publisher, to any app bound to one of them (contract azure §10). */
export function publishersOf(caller: AzureCaller, settings: AzureSettings): Set<string> {
  return new Set(settings.offers.filter((offer) => isAppOf(caller, offer, settings)).map((offer) => offer.publisherId));
}
