import { z } from 'zod';
import { isLoopbackUrl } from '../config.js';

const guid = z.string().regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/, 'must be a GUID in lower case');
const localUrl = z.string().refine(isLoopbackUrl, 'must be a loopback URL');
const landing = localUrl.refine((url) => !url.includes('#'), 'must not contain # (contract azure §2)');
const slug = z.string().regex(/^[a-z0-9][a-z0-9_-]*$/);

const person = z.object({
  emailId: z.string(),
  objectId: guid,
  tenantId: guid,
  puid: z.string().nullable().default(null),
});

const planSchema = z.object({
  id: slug,
  displayName: z.string(),
  description: z.string().default(''),
  isPrivate: z.boolean().default(false),
  /** Tenants that may buy a private plan. */
  audience: z.array(guid).default([]),
  isStopSell: z.boolean().default(false),
  hasFreeTrials: z.boolean().default(false),
  isPricePerSeat: z.boolean().default(false),
  minQuantity: z.number().int().positive().optional(),
  maxQuantity: z.number().int().positive().optional(),
  market: z.string().default('US'),
  /** Subscription and billing start at purchase, with a Subscribe webhook (contract azure §0.2). */
  autoActivate: z.boolean().default(false),
  termUnit: z.enum(['P1M', 'P1Y', 'P2Y', 'P3Y', 'P4Y', 'P5Y']).default('P1M'),
  currency: z.string().default('USD'),
  price: z.number().nonnegative().default(0),
  /** Dimension id to price; only these dimensions may be metered on the plan. */
  meters: z
    .record(z.string(), z.object({ pricePerUnit: z.number().nonnegative(), included: z.number().int().nonnegative().default(0) }))
    .default({}),
  privateOfferIds: z.array(z.string()).default([]),
});

const offerSchema = z.object({
  id: slug,
  displayName: z.string(),
  publisherId: slug,
  /** The app typed into the offer's Technical configuration (contract azure §1). */
  clientId: guid,
  landingUrl: landing.optional(),
  webhookUrl: localUrl.optional(),
  dimensions: z
    .array(z.object({ id: z.string(), displayName: z.string(), unitOfMeasure: z.string() }))
    .max(30)
    .default([]),
  plans: z.array(planSchema).min(1),
});

export const azureSettingsSchema = z
  .strictObject({
    /** `observed` plays the running service where it differs from its documentation (contract azure §3, "Real service vs docs"). */
    quirks: z.enum(['documented', 'observed']).default('documented'),
    /** `iss` of webhook tokens. */
    webhookTokenVersion: z.enum(['v1', 'v2', 'alternate']).default('alternate'),
    landingUrl: landing.optional(),
    webhookUrl: localUrl.optional(),
    pageSize: z.number().int().positive().default(100),
    tokenLifetimeSeconds: z.number().int().nonnegative().default(3599),
    /** How long a change waits for our word before it is accepted for us; also the webhook's answer window. */
    answerWindowSeconds: z.number().positive().default(10),
    /** How long a cancellation by the publisher stays InProgress. */
    partnerOperationDelaySeconds: z.number().nonnegative().default(1),
    /** Until then accepted usage reads back as Submitted. */
    reconDelaySeconds: z.number().nonnegative().default(0),
    /** Usage of an hour in which the old plan was in force, sent after a plan change. */
    oldPlanUsage: z.enum(['accepted', 'refused']).default('accepted'),
    /** After a refused plan change, send a ChangePlan back to the plan in force (contract azure §4). */
    revertAfterRefusal: z.boolean().default(false),
    /** Contract azure §0.5: a notice of what is done (newer documents), or a question that waits for a PATCH (older ones). */
    reinstate: z.enum(['notice', 'patch']).default('notice'),
    /** A PATCH with Failure refuses a change, or is taken with 200 and counts for nothing, as in 2022 (contract azure §4, "Rejecting"). */
    patchFailure: z.enum(['refuses', 'ignored']).default('refuses'),
    /** A change that nobody decides within the window: accepted, or failed, as was seen in 2021 (contract azure §4). */
    silence: z.enum(['accepts', 'fails']).default('accepts'),
    /** One event per resource, dimension and hour, or per resource and hour, as the text of 2022 had it (contract azure §6, rules). */
    usageKey: z.enum(['dimension', 'resource']).default('dimension'),
    publishers: z
      .array(
        z.object({
          id: slug,
          tenantId: guid,
          apps: z.array(z.object({ clientId: guid, clientSecret: z.string().min(1), secretExpiresAt: z.iso.datetime().optional() })).min(1),
        }),
      )
      .min(1),
    offers: z.array(offerSchema).min(1),
    /** The app with which people sign in on landing pages: multi-tenant, beside the publisher's own (contract azure §2). */
    signIn: z.object({ clientId: guid, clientSecret: z.string().min(1), redirectUris: z.array(localUrl).default([]) }).optional(),
    /** Where notifications of managed applications go, and the secret the publisher gave with it (contract azure §7). */
    managedApps: z.object({ endpoint: localUrl.optional(), sig: z.string().min(1).default('sandbox-managed-app-sig') }).prefault({}),
    /** A buyer with a purchaser buys through a reseller. */
    buyers: z.array(z.object({ name: z.string(), beneficiary: person, purchaser: person.optional() })).default([]),
    /** Who buys in a reseller purchase that names nobody (contract azure §2: purchaser and beneficiary differ). */
    reseller: person.prefault({
      emailId: 'desk@fairlead-resale.example',
      objectId: '6d8fce54-75b7-4fa2-a90a-4b5c6d7e8f95',
      tenantId: '8d7c6b5a-4938-4726-b514-f2e1d0c9b8a4',
      puid: '10032000F1E2D3C4',
    }),
  })
  .superRefine((settings, context) => {
    for (const offer of settings.offers) {
      for (const message of offerFaults(offer, settings.publishers))
        context.addIssue({ code: 'custom', path: ['offers', offer.id], message });
    }
  });

export type AzureSettings = z.output<typeof azureSettingsSchema>;
export type AzureOffer = z.output<typeof offerSchema>;
export type AzurePlan = z.output<typeof planSchema>;
export type Person = z.output<typeof person>;

/** The publishing rules of contract azure §6; Partner Center would not publish such an offer. */
function offerFaults(offer: AzureOffer, publishers: { id: string; apps: { clientId: string }[] }[]): string[] {
  const faults: string[] = [];
  const publisher = publishers.find((one) => one.id === offer.publisherId);
  if (!publisher) faults.push(`publisher ${offer.publisherId} is not listed`);
  else if (!publisher.apps.some((app) => app.clientId === offer.clientId))
    faults.push(`client ${offer.clientId} is not an app of ${publisher.id}`);
  if (new Set(offer.plans.map((plan) => plan.isPricePerSeat)).size > 1) faults.push('all plans of an offer share one pricing model');
  for (const plan of offer.plans) {
    const meters = Object.keys(plan.meters);
    if (plan.isPricePerSeat && meters.length) faults.push(`plan ${plan.id} is per seat and may not have meters`);
    if (plan.hasFreeTrials && meters.length) faults.push(`plan ${plan.id} has a free trial and may not have meters`);
    for (const meter of meters) {
      if (!offer.dimensions.some((dimension) => dimension.id === meter))
        faults.push(`plan ${plan.id} meters ${meter}, which the offer does not list`);
    }
  }
  return faults;
}

export function offerOf(settings: AzureSettings, offerId: string): AzureOffer | undefined {
  return settings.offers.find((offer) => offer.id === offerId);
}

export function planOf(settings: AzureSettings, offerId: string, planId: string): AzurePlan | undefined {
  return offerOf(settings, offerId)?.plans.find((plan) => plan.id === planId);
}

export function tenantOfOffer(settings: AzureSettings, offer: AzureOffer): string {
  const publisher = settings.publishers.find((one) => one.id === offer.publisherId);
  if (!publisher) throw new Error(`offer ${offer.id} has no publisher`);
  return publisher.tenantId;
}

/** A private plan exists only for its audience (contract azure §3, rules). */
export function planVisibleTo(plan: AzurePlan, buyerTenantId: string): boolean {
  return !plan.isPrivate || plan.audience.includes(buyerTenantId);
}
