import { randomInt } from 'node:crypto';
import { SignJWT } from 'jose';
import { type GcpSettings, pushOf } from '../settings.js';
import type { SignUpKeys } from '../sign-up-keys.js';

export const pushForgeries = [
  'none',
  'no_token',
  'wrong_key',
  'alg_none',
  'hs256',
  'wrong_iss',
  'wrong_aud',
  'foreign_account',
  'unverified_email',
  'expired',
  'future',
  'too_long',
] as const;
export type PushForgery = (typeof pushForgeries)[number];

const HOUR_SECONDS = 3_600;

/** Makes the OIDC token a push carries (contract gcp §3, "Pull vs push"), or a named forgery of it. Times are real. */
export async function pushToken(settings: GcpSettings, keys: SignUpKeys, forge: PushForgery, skewMs = 0): Promise<string | undefined> {
  if (forge === 'no_token') return undefined;
  const push = pushOf(settings);
  const now = Math.floor((Date.now() + skewMs) / 1000);
  const iat = forge === 'expired' ? now - 3 * HOUR_SECONDS : forge === 'future' ? now + HOUR_SECONDS : now;
  const subject = `1${String(randomInt(10_000_000_000))}`;
  const claims = {
    aud: forge === 'wrong_aud' ? 'https://another-seller.example/push' : push.audience,
    azp: subject,
    email: forge === 'foreign_account' ? 'push@stranger.iam.gserviceaccount.com' : push.serviceAccount,
    email_verified: forge !== 'unverified_email',
    iss: forge === 'wrong_iss' ? 'https://accounts.stranger.example' : 'https://accounts.google.com',
    sub: subject,
    iat,
    exp: iat + (forge === 'too_long' ? 24 : 1) * HOUR_SECONDS,
  };
  if (forge === 'alg_none') {
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    return `${part({ alg: 'none', kid: keys.currentKid })}.${part(claims)}.AA`;
  }
  // The published certificate as a shared secret: passes a verifier that lets the token choose how it is checked.
  if (forge === 'hs256') {
    const [kid, certificate] = Object.entries(keys.certificates()).at(-1) ?? ['', ''];
    return new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid }).sign(new TextEncoder().encode(certificate));
  }
  return keys.sign(claims, forge === 'wrong_key');
}
