import type { BerthConfig, GuardedHttp } from '#platform';

export type Http = Pick<GuardedHttp, 'request'>;

export type GcpSettings = NonNullable<BerthConfig['gcp']>;

/** Real milliseconds. */
export const TIMEOUTS_MS = {
  read: 8_000,
  list: 20_000,
  write: 20_000,
  check: 10_000,
  usage: 30_000,
  keys: 4_000,
  pubsub: 5_000,
  token: 15_000,
} as const;

/** The issuer of sign-up tokens; in production it is the key URL too, but keys come from the configured URL only (contract gcp §1). */
export const SIGN_UP_ISSUER = 'https://www.googleapis.com/robot/v1/metadata/x509/cloud-commerce-partner@system.gserviceaccount.com';

export const withoutSlash = (url: string): string => url.replace(/\/+$/, '');

/** The issuer of the OIDC token of a push (contract gcp §3, "Pull vs push"). */
export const OIDC_ISSUER = 'https://accounts.google.com';
