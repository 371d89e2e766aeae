import { z } from 'zod';
import { MARKETPLACES } from '#marketplaces/core';
import { claimantDetails, landingDetails } from '#entitlements';
import { apiSchema } from '../support/api-schemas.js';
import { STAGES } from './landing-words.js';

const instant = z.string().meta({ format: 'date-time' });

export const landingDetailsBody = apiSchema('LandingDetails', landingDetails, 'What the buyer fills in.');

export const landingClaimBody = apiSchema('LandingClaim', claimantDetails, 'Who asks for access to the purchase.');

const landingAccess = apiSchema(
  'LandingAccess',
  z.object({
    state: z
      .enum(['granted', 'open', 'needed', 'pending', 'rejected'])
      .describe('open: this visit may give the details; needed: it gets no keys before the seller approves its claim.'),
    askedAt: instant.nullable(),
    reason: z.string().nullable().describe('Why the claim was rejected.'),
  }),
  'What this visit may see.',
);

const landingSignIn = apiSchema(
  'LandingSignIn',
  z.object({
    startUrl: z.string().describe('Where the browser goes to sign in; `?choose=1` asks for another account.'),
    signedInAs: z.string().nullable().describe('Who is signed in on this visit, and is not whom the purchase was made for.'),
  }),
  'Offered where the purchase knows its person and this visit has not proved to be his.',
);

const landingProgress = apiSchema(
  'LandingProgress',
  z.object({
    code: z.string().describe('Stable code of what is being done, such as "setup.testing". New ones may come.'),
    title: z.string(),
    message: z.string(),
    awaited: z.string().describe('Completes "Waiting for …".'),
    since: instant.describe('When this step began, in business time.'),
    retrying: z.boolean().describe('A try of this step did not succeed and another follows.'),
    stages: z.array(z.object({ code: z.enum(STAGES), title: z.string(), state: z.enum(['done', 'current', 'ahead']) })),
  }),
  'Where setting up stands, in words for the buyer.',
);

const landingEndpoint = apiSchema(
  'LandingEndpoint',
  z.object({
    url: z.string(),
    accountName: z.string(),
    keys: z
      .array(z.object({ id: z.string(), secret: z.string() }))
      .nullable()
      .describe('Shown to the visit that gave the details, and to one whose claim was approved; null to others.'),
    keysShownOnce: z.boolean().describe('No later visit shows the keys unless it has access of its own.'),
  }),
);

const landingKeptData = apiSchema(
  'LandingKeptData',
  z.object({
    until: instant.describe('It is not deleted before; later only where nobody has said that it was taken along.'),
    export: z.enum(['not_needed', 'open', 'confirmed', 'waived']),
    readableUntil: instant.nullable().describe('It can be read with the keys until then; the endpoint is shown.'),
  }),
);

/** What the landing page shows: the purchase in the buyer's words, how far it is, and at the end the endpoint. */
export const landingSession = apiSchema(
  'LandingSession',
  z.object({
    sessionId: z.string(),
    marketplace: z.enum(MARKETPLACES),
    state: z.enum([
      'needs_access',
      'needs_details',
      'provisioning',
      'activating',
      'ready',
      'suspended',
      'ended',
      'failed',
      'awaiting_marketplace',
    ]),
    purchase: z.object({
      offerName: z.string(),
      planName: z.string(),
      subscriptionName: z.string(),
      quantity: z.int32().nullable(),
      term: z.object({ startsAt: instant.nullable(), endsAt: instant.nullable(), unit: z.string().nullable() }).nullable(),
      beneficiaryEmail: z.string().nullable(),
      purchaserEmail: z.string().nullable(),
    }),
    includes: z.array(z.object({ label: z.string(), value: z.string() })),
    regions: z.array(z.object({ id: z.string(), name: z.string() })),
    defaults: z
      .object({ organisation: z.string(), region: z.string(), contactName: z.string(), contactEmail: z.string() })
      .describe('What the form starts with; may be empty.'),
    access: landingAccess,
    signIn: landingSignIn.nullable(),
    progress: landingProgress.nullable(),
    endpoint: landingEndpoint.nullable(),
    keptData: landingKeptData.nullable().describe('After the end, to a visit with access: how long the data is kept.'),
    tenant: z.object({ slug: z.string(), displayName: z.string() }).nullable(),
    apiKey: z.string().nullable(),
    problem: z.object({ code: z.string(), detail: z.string(), remedy: z.string() }).nullable(),
    support: z.object({
      email: z.string(),
      reference: z.string().describe('Names this purchase, or the work that stopped, to support. Opens nothing.'),
    }),
  }),
  'A visit of the landing page.',
);
export type LandingView = z.infer<typeof landingSession>;
export type LandingProgress = z.infer<typeof landingProgress>;
