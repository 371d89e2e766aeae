import { createHash } from 'node:crypto';
import {
  type InboundRequest,
  type InboundVerdict,
  type PulledMessage,
  type TokenClaims,
  type TokenFault,
  verifySignedToken,
} from '#marketplaces/core';
import { guidOf, isFields, textOf } from './liberal.js';
import { type AzureOperation, isChange, knownAction, operationOf } from './operations.js';
import type { AzureSettings } from './settings.js';
import type { SigningKeys } from './signing-keys.js';

export const WEBHOOK_SOURCE = 'azure.webhook';
const MAX_BODY = 256 * 1024;
const MAX_TOKEN = 16 * 1024;
const SKEW_SECONDS = 60;

type Refused = Extract<InboundVerdict, { ok: false }>;
const refused = (status: Refused['status'], code: string, detail: string): Refused => ({ ok: false, status, code, detail });

const FAULTS: Record<TokenFault, string> = {
  no_jwt: 'the token is no JWT',
  algorithm: 'only RS256 is taken',
  unknown_key: 'the token is signed with a key that Entra does not list',
  signature: 'the signature is wrong',
  expired: 'the token has expired',
  invalid: 'the token is not valid',
};

/**
 * Who sent it, and what it is at the least. A 4xx answer to a change is a refusal of the change (contract azure §4), so only
 * what is certainly not Microsoft's gets one; where the keys cannot be had this throws `MarketplaceBusy` and they come again.
 */
export async function verifyInbound(request: InboundRequest, settings: AzureSettings, keys: SigningKeys): Promise<InboundVerdict> {
  if (Buffer.byteLength(request.body, 'utf8') > MAX_BODY)
    return refused(413, 'azure.body_too_large', `a webhook may have ${MAX_BODY} bytes`);
  // Node gives names in lower case; a stored request has them as it was given.
  const header =
    request.headers['authorization'] ?? Object.entries(request.headers).find(([name]) => name.toLowerCase() === 'authorization')?.[1] ?? '';
  const token = /^Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)\s*$/i.exec(header)?.[1];
  if (!token || token.length > MAX_TOKEN) return refused(401, 'azure.token_missing', 'a bearer token of Entra is needed');
  const verdict = await verifyToken(token, settings, keys);
  if (!('claims' in verdict)) return verdict;

  let body: unknown;
  try {
    body = JSON.parse(request.body);
  } catch {
    // The sender is genuine, so it came broken: a 4xx would refuse a change, so that the whole one shall come again.
    return refused(503, 'azure.body_not_json', 'the body is not JSON; send it again');
  }
  if (!isFields(body)) return refused(400, 'azure.body_not_object', 'the body is not a JSON object');
  // No more is required: minimal legacy bodies exist, and the rest is re-read (contract azure §4).
  if (!textOf(body['subscriptionId'])) return refused(400, 'azure.subscription_missing', 'subscriptionId is missing');
  const operation = operationOf(body);
  if (!operation) return refused(400, 'azure.action_missing', 'action is missing');

  return {
    ok: true,
    source: WEBHOOK_SOURCE,
    naturalKey: guidOf(body['id']) ?? `sha256:${createHash('sha256').update(request.body).digest('hex')}`,
    principal: `entra:${settings.marketplaceAppId}`,
    // One purchase's messages are applied one after another.
    externalSubscriptionId: operation.externalSubscriptionId,
    decisionWanted:
      isChange(knownAction(operation.action)) && !operation.byUs && (operation.status === 'pending' || operation.status === 'unknown'),
  };
}

async function verifyToken(token: string, settings: AzureSettings, keys: SigningKeys): Promise<{ claims: TokenClaims } | Refused> {
  // Keys come from the configured authority only.
  const verdict = await verifySignedToken(token, (id) => keys.find(id), { skewSeconds: SKEW_SECONDS, required: ['exp', 'aud', 'iss'] });
  if (!verdict.ok) return refused(401, verdict.fault === 'expired' ? 'azure.token_expired' : 'azure.token_invalid', FAULTS[verdict.fault]);
  const { claims } = verdict;
  const is = (claim: string, wanted: string): boolean =>
    typeof claims[claim] === 'string' && (claims[claim] as string).toLowerCase() === wanted;
  const wrong = (detail: string): Refused => refused(403, 'azure.token_not_for_us', detail);
  if (!is('aud', settings.clientId)) return wrong('aud is not our application');
  if (!is('tid', settings.tenantId)) return wrong('tid is not our tenant');
  if (!is(claims['appid'] === undefined ? 'azp' : 'appid', settings.marketplaceAppId)) return wrong('the sender is not the marketplace');
  if (!issuersOf(settings).includes(typeof claims.iss === 'string' ? claims.iss : '')) return wrong('iss is not an issuer of our tenant');
  return { claims };
}

/** Version 1 and version 2 tokens name different issuers, and the version varies (contract azure §4). */
export function issuersOf(settings: AzureSettings): string[] {
  return (
    settings.issuers ?? [`https://sts.windows.net/${settings.tenantId}/`, `https://login.microsoftonline.com/${settings.tenantId}/v2.0`]
  );
}

/** Operations of others that wait for us, in the shape of the webhooks that were to tell of them (contract azure §4, sweep). */
export function pendingMessages(externalSubscriptionId: string, operations: AzureOperation[]): PulledMessage[] {
  return operations.flatMap((one) =>
    one.operationId === null || one.byUs
      ? []
      : [
          {
            source: WEBHOOK_SOURCE,
            naturalKey: one.operationId,
            headers: {},
            body: JSON.stringify({ ...one.raw, subscriptionId: externalSubscriptionId }),
            principal: 'azure:list-operations',
            externalSubscriptionId,
          },
        ],
  );
}
