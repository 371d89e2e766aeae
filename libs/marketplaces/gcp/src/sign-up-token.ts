import { type TokenFault, verifySignedToken } from '#marketplaces/core';
import { type Logger, realNow } from '#platform';
import { fieldsOf, isFields, lastSegment, listOf, textOf } from './liberal.js';
import { type GcpSettings, SIGN_UP_ISSUER } from './settings.js';
import type { SigningKeys } from './signing-keys.js';

const MAX_LIFE_SECONDS = 300;
const SKEW_SECONDS = 30;

export interface SignUp {
  accountId: string;
  /** The obfuscated Google user; never a name or an address. */
  userIdentity: string | null;
  /** Orders the buyer came from, where the token names some. */
  orders: string[];
}

export type SignUpVerdict =
  | { ok: true; signUp: SignUp }
  | { ok: false; code: 'landing.token_invalid' | 'landing.token_expired' | 'landing.not_for_us'; detail: string };
type Refused = Extract<SignUpVerdict, { ok: false }>;

const FAULTS: Record<TokenFault, string> = {
  no_jwt: 'this is not a token of the marketplace',
  algorithm: 'the token is not signed as the marketplace signs',
  unknown_key: 'the token is signed with a key the marketplace does not have',
  signature: 'the token does not stand the check',
  expired: 'the token holds for five minutes; open the product in the marketplace again',
  invalid: 'the token does not stand the check',
};

/** The checks of contract gcp §1. Times are real. Neither token nor claims are logged, only a foreign audience. */
export async function verifySignUp(
  token: string,
  settings: Pick<GcpSettings, 'audiences' | 'signUpKeysUrl'>,
  keys: SigningKeys,
  logger?: Logger,
): Promise<SignUpVerdict> {
  const invalid = (detail: string): Refused => ({ ok: false, code: 'landing.token_invalid', detail });
  const verdict = await verifySignedToken(token, (id) => keys.find(id), {
    skewSeconds: SKEW_SECONDS,
    required: ['exp', 'iat', 'iss', 'aud', 'sub'],
  });
  if (!verdict.ok)
    return verdict.fault === 'expired'
      ? { ok: false, code: 'landing.token_expired', detail: FAULTS.expired }
      : invalid(FAULTS[verdict.fault]);
  const { claims } = verdict;
  if (claims.iss !== SIGN_UP_ISSUER && claims.iss !== settings.signUpKeysUrl) return invalid('the token names another issuer');
  const { iat, exp } = claims;
  if (typeof iat !== 'number' || typeof exp !== 'number' || exp - iat > MAX_LIFE_SECONDS)
    return invalid('the token holds longer than the marketplace makes them');
  if (iat > realNow().getTime() / 1_000 + SKEW_SECONDS) return invalid('the token comes from the future; check the clock of this machine');
  const audiences = listOf(Array.isArray(claims.aud) ? claims.aud : [claims.aud]);
  if (!audiences.some((aud) => typeof aud === 'string' && settings.audiences.includes(aud))) {
    // The rule for `aud` is not documented precisely: what came must be seen to be configured (contract gcp §1).
    logger?.warn(
      { receivedAudience: audiences.map((aud) => String(aud).slice(0, 200)), audiences: settings.audiences },
      'a sign-up token names an audience that GCP_AUDIENCES does not list',
    );
    return { ok: false, code: 'landing.not_for_us', detail: 'the token is meant for another address' };
  }
  const accountId = lastSegment(claims.sub);
  if (!accountId) return invalid('the token names no account');
  return { ok: true, signUp: { accountId, userIdentity: textOf(fieldsOf(claims['google'])['user_identity']), orders: ordersOf(claims) } };
}

/** Seen nested and at the top, as texts and as objects; the position is not confirmed (contract gcp §1). */
export function ordersOf(claims: Record<string, unknown>): string[] {
  const given = [...listOf(fieldsOf(claims['google'])['orders']), ...listOf(claims['orders'])];
  const ids = given.map((one) =>
    isFields(one) ? (lastSegment(one['orderId']) ?? lastSegment(one['id']) ?? lastSegment(one['name'])) : lastSegment(one),
  );
  return [...new Set(ids.filter((id) => id !== null))];
}
