import { z } from 'zod';
import { type Given, listOf, pairsOf } from './pairs.js';

const url = z.url();
const MAX_TIMEOUT_MS = 120_000;
/** Of what the adapter has time-outs; real milliseconds. */
export const AZURE_TIMEOUTS = ['read', 'write', 'usage', 'token', 'keys'] as const;

export const azureVariables = {
  AZURE_MARKETPLACE_URL: url.default('https://marketplaceapi.microsoft.com/api'),
  AZURE_AUTHORITY_URL: url.default('https://login.microsoftonline.com'),
  AZURE_TENANT_ID: z.string().optional(),
  AZURE_CLIENT_ID: z.string().optional(),
  AZURE_CLIENT_SECRET: z.string().optional(),
  /** When the client secret ends, as Entra shows it: no API of the marketplace tells. For reminders only. */
  AZURE_CLIENT_SECRET_EXPIRES: z.iso.date().optional(),
  /** Purchases of other publishers of the same application are left alone. */
  AZURE_PUBLISHER_ID: z.string().optional(),
  /** The marketplace's application: another one in a sovereign cloud. */
  AZURE_MARKETPLACE_APP_ID: z.guid().optional(),
  /** What `iss` of a webhook's token may be, comma list. */
  AZURE_ISSUERS: z.string().optional(),
  /** `read=4000,token=5000`, comma list. */
  AZURE_TIMEOUTS_MS: z.string().optional(),
  /** The multi-tenant app with which buyers sign in on the landing page; none, and nobody can. */
  AZURE_SIGN_IN_CLIENT_ID: z.guid().optional(),
  AZURE_SIGN_IN_CLIENT_SECRET: z.string().optional(),
  AZURE_SIGN_IN_CLIENT_SECRET_EXPIRES: z.iso.date().optional(),
  /** Who signs ID tokens, with the person's directory in place of `{tenantid}`. */
  AZURE_SIGN_IN_ISSUER: url
    .refine((text) => text.includes('{tenantid}'), 'must name the directory as {tenantid}')
    .default('https://login.microsoftonline.com/{tenantid}/v2.0'),
  AZURE_ARM_URL: url.default('https://management.azure.com'),
  /** The secret given in the definition of managed applications, beside `<public>/webhooks/azure/managed`. */
  AZURE_MANAGED_APP_SIG: z.string().min(16, 'must have at least 16 characters').optional(),
  AZURE_REINSTATE: z.enum(['notice', 'patch']).default('notice'),
};
type AzureVariables = z.infer<z.ZodObject<typeof azureVariables>>;

export interface AzureConfig {
  apiUrl: string;
  authorityUrl: string;
  tenantId: string;
  clientId: string;
  clientSecret: string;
  /** A day (UTC) or null where nobody wrote it down. */
  clientSecretExpires: string | null;
  /** Whether a reinstatement waits for our word (ADR 0014). */
  reinstate: 'notice' | 'patch';
  armUrl: string;
  /** Set where managed applications are sold. */
  managedAppSignature: string | null;
  /** Where they are not set, the adapter's own defaults hold. */
  publisherId?: string;
  marketplaceAppId?: string;
  issuers?: string[];
  timeoutsMs: Partial<Record<(typeof AZURE_TIMEOUTS)[number], number>>;
  /** Where buyers can sign in on the landing page. */
  signIn: { clientId: string; clientSecret: string; clientSecretExpires: string | null; issuer: string } | null;
}

export const AZURE_ENDPOINTS = ['AZURE_MARKETPLACE_URL', 'AZURE_AUTHORITY_URL', 'AZURE_ARM_URL'] as const;

/** Null: Azure is not sold. In the sandbox every service has its own path below one address. */
export function azureOf(e: AzureVariables, given: Given, sandbox: string | null): AzureConfig | null {
  if (!e.AZURE_TENANT_ID || !e.AZURE_CLIENT_ID || !e.AZURE_CLIENT_SECRET) return null;
  const at = (name: (typeof AZURE_ENDPOINTS)[number], path: string): string =>
    given[name] ?? (sandbox ? `${sandbox}/azure/${path}` : e[name]);
  const issuers = listOf(e.AZURE_ISSUERS);
  return {
    apiUrl: at('AZURE_MARKETPLACE_URL', 'api'),
    authorityUrl: at('AZURE_AUTHORITY_URL', 'login'),
    tenantId: e.AZURE_TENANT_ID,
    clientId: e.AZURE_CLIENT_ID,
    clientSecret: e.AZURE_CLIENT_SECRET,
    clientSecretExpires: e.AZURE_CLIENT_SECRET_EXPIRES ?? null,
    reinstate: e.AZURE_REINSTATE,
    armUrl: at('AZURE_ARM_URL', 'arm'),
    managedAppSignature: e.AZURE_MANAGED_APP_SIG ?? null,
    ...(e.AZURE_PUBLISHER_ID ? { publisherId: e.AZURE_PUBLISHER_ID } : {}),
    ...(e.AZURE_MARKETPLACE_APP_ID ? { marketplaceAppId: e.AZURE_MARKETPLACE_APP_ID } : {}),
    ...(issuers.length > 0 ? { issuers } : {}),
    timeoutsMs: Object.fromEntries(pairsOf(e.AZURE_TIMEOUTS_MS).map(([name, ms]) => [name, Number(ms)])),
    signIn:
      e.AZURE_SIGN_IN_CLIENT_ID && e.AZURE_SIGN_IN_CLIENT_SECRET
        ? {
            clientId: e.AZURE_SIGN_IN_CLIENT_ID.toLowerCase(),
            clientSecret: e.AZURE_SIGN_IN_CLIENT_SECRET,
            clientSecretExpires: e.AZURE_SIGN_IN_CLIENT_SECRET_EXPIRES ?? null,
            issuer: e.AZURE_SIGN_IN_ISSUER,
          }
        : null,
  };
}

/** What one setting alone cannot tell. */
export function azureFaults(given: Given): string[] {
  const faults: string[] = [];
  if (
    !given['AZURE_SIGN_IN_CLIENT_ID'] !== !given['AZURE_SIGN_IN_CLIENT_SECRET'] ||
    (given['AZURE_SIGN_IN_CLIENT_ID'] && !given['AZURE_CLIENT_ID'])
  )
    faults.push(
      'AZURE_SIGN_IN_CLIENT_ID and AZURE_SIGN_IN_CLIENT_SECRET belong together, beside AZURE_CLIENT_ID (set both to let buyers sign in, or none)',
    );
  for (const [name, ms] of pairsOf(given['AZURE_TIMEOUTS_MS']))
    if (!AZURE_TIMEOUTS.some((known) => known === name) || !/^[1-9]\d*$/.test(ms) || Number(ms) > MAX_TIMEOUT_MS)
      faults.push(
        `AZURE_TIMEOUTS_MS: each must be one of ${AZURE_TIMEOUTS.join(', ')}, followed by = and milliseconds from 1 to ${MAX_TIMEOUT_MS}`,
      );
  return faults;
}
