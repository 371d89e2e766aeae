import { z } from 'zod';

/** The marketplace's own application: the audience of our tokens and the sender of webhooks (contract azure §1, §4). */
export const MARKETPLACE_APP_ID = '20e940b3-4c77-4b0b-9a53-9e16a1b010a7';
export const API_VERSION = '2018-08-31';

const base = z.url().transform((u) => u.replace(/\/+$/, ''));
const ms = (value: number) => z.number().int().positive().default(value);

export const azureSettingsSchema = z.object({
  /** Fulfillment and metering have one host (contract azure §0). */
  apiUrl: base.default('https://marketplaceapi.microsoft.com/api'),
  /** Tokens and signing keys come from here: `{authorityUrl}/{tenantId}/…`. */
  authorityUrl: base.default('https://login.microsoftonline.com'),
  /** The publisher's own Entra tenant, where the application of Technical configuration lives. */
  tenantId: z.guid().transform((v) => v.toLowerCase()),
  clientId: z.guid().transform((v) => v.toLowerCase()),
  clientSecret: z.string().min(1),
  marketplaceAppId: z
    .guid()
    .default(MARKETPLACE_APP_ID)
    .transform((v) => v.toLowerCase()),
  /** Where set, purchases of another publisher are left out of the list. */
  publisherId: z.string().min(1).optional(),
  /** Issuers a webhook's token may name; by default the two of the tenant, version 1 and 2. */
  issuers: z.array(z.string()).min(1).optional(),
  /**
   * What a Reinstate is: `notice`, done already (newer documents), or `patch`, waiting for our Success (older ones). Contract azure
   * §0.5, ADR 0014.
   */
  reinstate: z.enum(['notice', 'patch']).default('notice'),
  /** The secret given with the notification endpoint of managed applications; none, and no such notification is taken. */
  managedAppSignature: z.string().min(16).nullish(),
  /** The application with which buyers sign in on the landing page; here for the doctor only. */
  signIn: z.object({ clientId: z.guid(), clientSecret: z.string().min(1) }).nullish(),
  /** Where a managed application is looked up (contract azure §7). */
  armUrl: base.default('https://management.azure.com'),
  /** Real milliseconds. Two reads must fit into the ten seconds of a change decision. */
  timeoutsMs: z.object({ read: ms(4_000), write: ms(20_000), usage: ms(30_000), token: ms(5_000), keys: ms(4_000) }).prefault({}),
});

export type AzureSettings = z.output<typeof azureSettingsSchema>;
/** What may be given; the rest has defaults. */
export type AzureSettingsInput = z.input<typeof azureSettingsSchema>;
