import { type Check, type DoctorOptions, MarketplaceRefusal, timeLimited } from '#marketplaces/core';
import { errorText } from '#platform';
import type { AccessTokens } from './access-token.js';
import { type ApiClient, failureOf } from './api-client.js';
import { listingChecks } from './doctor-listing.js';
import { ARM } from './managed-apps.js';
import type { AzureReader } from './reader.js';
import type { AzureSettings } from './settings.js';
import type { SigningKeys } from './signing-keys.js';

/** What Entra's error numbers mean for the one who set the adapter up (contract azure §1, §10). */
const REMEDIES: [RegExp, string][] = [
  [/AADSTS7000215/, 'Set AZURE_CLIENT_SECRET to the value of the secret, not to its id.'],
  [
    /AADSTS7000222/,
    'The client secret has expired: make a new one in Entra (App registrations, Certificates & secrets) and set AZURE_CLIENT_SECRET.',
  ],
  [/AADSTS700016/, 'Set AZURE_CLIENT_ID to the application of the tenant in AZURE_TENANT_ID.'],
  [/AADSTS90002/, 'Set AZURE_TENANT_ID to the Entra tenant of the publisher.'],
  [
    /AADSTS(500011|650052)/,
    'The marketplace has no service principal in the tenant: az ad sp create --id 20e940b3-4c77-4b0b-9a53-9e16a1b010a7',
  ],
];

interface Parts {
  tokens: AccessTokens;
  api: ApiClient;
  keys: SigningKeys;
  reader: AzureReader;
  /** For Azure Resource Manager. */
  armTokens: AccessTokens;
  /** Of the application with which buyers sign in, for itself; null where nobody does. */
  signInTokens: AccessTokens | null;
}

export async function doctor(settings: AzureSettings, parts: Parts, options: DoctorOptions = {}): Promise<Check[]> {
  const { tokens, api, keys } = parts;
  const check = checker(options.timeoutMs);
  const token = await check(
    'azure.token',
    async () => {
      await tokens.get();
      return 'Entra gives a token for the marketplace API';
    },
    (text) =>
      REMEDIES.find(([pattern]) => pattern.test(text))?.[1] ??
      `Check that ${settings.authorityUrl} can be reached, and AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.`,
  );

  const list: Check =
    token.result === 'pass'
      ? await check(
          'azure.api',
          async () => {
            const answer = await api.call({
              method: 'GET',
              path: '/saas/subscriptions',
              timeoutMs: settings.timeoutsMs.read * 3,
              changes: false,
              operation: 'listSubscriptions',
            });
            if (answer.status !== 200) throw failureOf('listSubscriptions', answer, false);
            return 'the purchases can be listed';
          },
          (_text, error) =>
            error instanceof MarketplaceRefusal && error.code === 'azure.unauthorised'
              ? 'A token alone does not bind an offer: in Partner Center, Technical configuration must name this tenant and application.'
              : `Check that ${settings.apiUrl} can be reached.`,
        )
      : { check: 'azure.api', result: 'unknown', detail: 'not tried without a token', remedy: 'Mend azure.token first.' };

  const signing = await check(
    'azure.signing_keys',
    async () => {
      await keys.refresh();
      return `${keys.size} signing keys for webhooks`;
    },
    () => `Webhooks cannot be verified: check that ${settings.authorityUrl}/${settings.tenantId}/discovery/v2.0/keys can be reached.`,
  );

  const managed = settings.managedAppSignature
    ? [
        await check(
          'azure.managed_apps',
          async () => {
            await parts.armTokens.get();
            return 'Entra gives a token for Azure Resource Manager; whether an application may be read shows only with one';
          },
          () => `Managed applications cannot be confirmed: check that ${settings.authorityUrl} gives this application a token for ${ARM}.`,
        ),
      ]
    : [];

  return [
    token,
    list,
    signing,
    ...managed,
    ...(parts.signInTokens ? [await signInCheck(parts.signInTokens, check)] : []),
    ...(await listingChecks(options, parts, list.result === 'pass')),
    {
      check: 'azure.secret_expiry',
      result: 'unknown',
      detail: 'the marketplace API does not tell when the client secret expires',
      remedy:
        'Look it up in Entra (App registrations, Certificates & secrets) and put a reminder 30 days before: an expired secret makes purchases unseen.',
    },
  ];
}

/** Its redirect address and its kind of accounts show only when a person signs in; its secret shows now. */
async function signInCheck(tokens: AccessTokens, check: ReturnType<typeof checker>): Promise<Check> {
  const found = await check(
    'azure.sign_in',
    async () => {
      await tokens.get();
      return 'Entra takes id and secret of the sign-in application';
    },
    () =>
      'Buyers cannot sign in: set AZURE_SIGN_IN_CLIENT_ID to the multi-tenant application and AZURE_SIGN_IN_CLIENT_SECRET to the value of its secret.',
  );
  // It may live in another directory than the one of the offer's application.
  return found.result === 'fail' && /AADSTS700016/.test(found.detail)
    ? {
        ...found,
        result: 'unknown',
        remedy:
          'The directory of AZURE_TENANT_ID does not have AZURE_SIGN_IN_CLIENT_ID. Where it lives in another one, sign in once to see.',
      }
    : found;
}

const checker =
  (timeoutMs: number | undefined) =>
  async (name: string, work: () => Promise<string>, remedy: (text: string, error: unknown) => string): Promise<Check> => {
    try {
      return { check: name, result: 'pass', detail: await timeLimited(work, timeoutMs) };
    } catch (error) {
      const text = errorText(error);
      return { check: name, result: 'fail', detail: text, remedy: remedy(text, error) };
    }
  };
