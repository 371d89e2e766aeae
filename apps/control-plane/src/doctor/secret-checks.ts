import { type BerthConfig, realNow } from '#platform';
import type { Check } from '#marketplaces/core';

const DAY_MS = 86_400_000;
const WARN_DAYS = 30;
export const WEBHOOK_SECRET_LENGTH = 16;

/** Each secret of Azure whose last day somebody wrote down; of the others the adapter's `unknown` stands. */
export function azureSecretExpiry(azure: NonNullable<BerthConfig['azure']>, now: Date = realNow()): Check[] {
  return [
    ...expiryOf('azure.secret_expiry', 'AZURE_CLIENT_SECRET', azure.clientSecretExpires, now),
    ...expiryOf('azure.sign_in_secret_expiry', 'AZURE_SIGN_IN_CLIENT_SECRET', azure.signIn?.clientSecretExpires ?? null, now),
  ];
}

function expiryOf(check: string, setting: string, day: string | null, now: Date): Check[] {
  if (day === null) return [];
  const days = Math.floor((Date.parse(`${day}T00:00:00Z`) - now.getTime()) / DAY_MS);
  const remedy = `Make a new client secret in Entra (App registrations, Certificates & secrets), set ${setting} and ${setting}_EXPIRES, then restart.`;
  if (days < 0) return [{ check, result: 'fail', detail: `${setting}_EXPIRES says ${day}: the client secret has expired`, remedy }];
  if (days <= WARN_DAYS) return [{ check, result: 'warn', detail: `the client secret expires on ${day}, in ${days} days`, remedy }];
  return [{ check, result: 'pass', detail: `the client secret expires on ${day}, in ${days} days` }];
}

/** EventBridge signs nothing: the shared secret is the only proof of a sender. */
export function awsWebhookSecret(env: Record<string, string | undefined>): Check {
  const check = 'aws.webhook_secret';
  const secret = env['AWS_WEBHOOK_SECRET'] ?? '';
  if (secret.length >= WEBHOOK_SECRET_LENGTH) return { check, result: 'pass', detail: 'there is a shared secret for the API destination' };
  return {
    check,
    result: 'fail',
    detail:
      secret === ''
        ? 'AWS_WEBHOOK_SECRET is not set: no event of AWS can be accepted'
        : 'AWS_WEBHOOK_SECRET is too short to prove a sender',
    remedy: `Set AWS_WEBHOOK_SECRET to at least ${WEBHOOK_SECRET_LENGTH} random characters, and the same value as header x-berth-webhook-secret of the EventBridge connection.`,
  };
}
