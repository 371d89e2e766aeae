import { type InboundRequest, type InboundVerdict, type TokenFault, verifySignedToken } from '#marketplaces/core';
import { realNow } from '#platform';
import { fieldsOf, isFields, jsonOf, textOf } from './liberal.js';
import { bodyTextOf, naturalKeyOf, notificationOf } from './message.js';
import { SOURCE, subscriptionName } from './pull.js';
import { type GcpSettings, OIDC_ISSUER } from './settings.js';
import type { SigningKeys } from './signing-keys.js';

const MAX_BODY = 256 * 1024;
const MAX_TOKEN = 16 * 1024;
const SKEW_SECONDS = 60;
/** Google makes them for an hour (contract gcp §3, "Pull vs push"). */
const MAX_LIFE_SECONDS = 3_600;

export interface PushSettings {
  audience: string;
  serviceAccount: string;
}

type Refused = Extract<InboundVerdict, { ok: false }>;
const refused = (status: Refused['status'], code: string, detail: string): Refused => ({ ok: false, status, code, detail });

const FAULTS: Record<TokenFault, string> = {
  no_jwt: 'the token is no JWT',
  algorithm: 'only RS256 is taken',
  unknown_key: 'the token is signed with a key that Google does not list',
  signature: 'the signature is wrong',
  expired: 'the token has expired',
  invalid: 'the token is not valid',
};

/**
 * A message that Pub/Sub pushes: who sent it, and which event it is. Whatever is not a 2xx makes Pub/Sub send it again, so a
 * refusal loses nothing that is genuine. Where the keys cannot be had this throws `MarketplaceBusy`.
 */
export async function verifyPush(
  request: InboundRequest,
  settings: Pick<GcpSettings, 'subscription'>,
  push: PushSettings,
  keys: SigningKeys,
): Promise<InboundVerdict> {
  if (Buffer.byteLength(request.body, 'utf8') > MAX_BODY) return refused(413, 'gcp.body_too_large', `a push may have ${MAX_BODY} bytes`);
  const header = Object.entries(request.headers).find(([name]) => name.toLowerCase() === 'authorization')?.[1] ?? '';
  const token = /^Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)\s*$/i.exec(header)?.[1];
  if (!token || token.length > MAX_TOKEN) return refused(401, 'gcp.push_token_missing', 'a bearer token of Google is needed');
  const wrong = await faultOf(token, push, keys);
  if (wrong) return wrong;

  const envelope = envelopeOf(request.body);
  if (!envelope) return refused(400, 'gcp.push_body_invalid', 'the body is not the envelope of a push: message.data in base64');
  if (envelope.subscription !== null && subscriptionName(envelope.subscription) !== subscriptionName(settings.subscription))
    return refused(403, 'gcp.push_subscription', `the push is of the subscription ${envelope.subscription.slice(0, 200)}`);
  const told = notificationOf(bodyTextOf(envelope.data));
  return {
    ok: true,
    source: SOURCE,
    // As for a pulled one: whichever way it comes, it is one message.
    naturalKey: naturalKeyOf(told, envelope.data),
    principal: `oidc:${push.serviceAccount}`,
    decisionWanted: false,
    externalSubscriptionId: told?.about?.kind === 'entitlement' ? told.about.id : null,
  };
}

async function faultOf(token: string, push: PushSettings, keys: SigningKeys): Promise<Refused | null> {
  const invalid = (detail: string): Refused => refused(401, 'gcp.push_token_invalid', detail);
  const verdict = await verifySignedToken(token, (id) => keys.find(id), {
    skewSeconds: SKEW_SECONDS,
    required: ['exp', 'iat', 'iss', 'aud', 'email'],
  });
  if (!verdict.ok)
    return verdict.fault === 'expired' ? refused(401, 'gcp.push_token_expired', FAULTS.expired) : invalid(FAULTS[verdict.fault]);
  const { claims } = verdict;
  if (claims.iss !== OIDC_ISSUER) return invalid('iss is not Google');
  const { iat, exp } = claims;
  if (typeof iat !== 'number' || typeof exp !== 'number' || exp - iat > MAX_LIFE_SECONDS)
    return invalid('the token holds longer than Google makes them');
  if (iat > realNow().getTime() / 1_000 + SKEW_SECONDS) return invalid('the token comes from the future; check the clock of this machine');
  // Exactly the one that is configured, character by character.
  if (claims.aud !== push.audience) return invalid('aud is not the configured audience');
  // Anybody can have a Google token made for our audience: only the account proves who pushes (contract gcp §3).
  if (claims['email'] !== push.serviceAccount) return invalid('email is not the configured service account');
  if (claims['email_verified'] !== true) return invalid('the e-mail of the token is not verified');
  return null;
}

export interface PushEnvelope {
  data: Buffer;
  messageId: string | null;
  subscription: string | null;
}

/** Fields come in camel case and in snake case; `data` is the same in both (contract gcp §3). Null where it is none. */
export function envelopeOf(body: string): PushEnvelope | null {
  const raw = jsonOf(body);
  if (!isFields(raw) || !isFields(raw['message'])) return null;
  const message = fieldsOf(raw['message']);
  const data = message['data'] ?? '';
  if (typeof data !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(data) || data.length % 4 !== 0) return null;
  return {
    data: Buffer.from(data, 'base64'),
    messageId: textOf(message['messageId']) ?? textOf(message['message_id']),
    subscription: textOf(raw['subscription']),
  };
}
