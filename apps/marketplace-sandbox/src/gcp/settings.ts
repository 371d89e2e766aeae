import { z } from 'zod';
import { isLoopbackUrl } from '../config.js';

/** Pub/Sub refuses shorter ones and such that do not start with a letter (contract gcp §6, 9). */
const resourceId = z.string().regex(/^[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}$/, 'must be 3 to 255 characters and start with a letter');
const localUrl = z.string().refine(isLoopbackUrl, 'must be a loopback URL');

const metricSchema = z.object({
  /** Full metric name, as the publisher's console shows it. */
  id: z.string().regex(/^[^/\s]+\/[^/\s]+$/, 'must be <service name>/<metric>'),
  displayName: z.string().optional(),
  /** Differs per metric, even for one dimension of two plans (contract gcp §4). */
  type: z.enum(['INT64', 'DOUBLE']).default('INT64'),
});

const planSchema = z.object({
  id: z.string().min(1),
  displayName: z.string(),
  price: z.number().nonnegative().default(0),
  termMonths: z.number().int().positive().default(1),
  metrics: z.array(metricSchema).max(8).default([]),
});

export const gcpSettingsSchema = z
  .strictObject({
    providerId: resourceId,
    projectId: resourceId,
    subscription: resourceId,
    topicProject: resourceId.default('cloudcommerceproc-prod'),
    serviceName: z.string().min(1),
    product: z.string().min(1),
    productExternalName: z.string().optional(),
    displayName: z.string().default('Google listing'),
    /** `aud` of sign-up tokens is the first one. */
    audiences: z.array(z.string().min(1)).min(1),
    signUpUrl: localUrl.default('http://127.0.0.1:4000/landing/gcp'),
    /** Where the publisher's subscription pushes to; unset, it is pulled from (contract gcp §3, "Pull vs push"). */
    pushEndpoint: localUrl.nullish(),
    /** `aud` of a push's token; by default the endpoint's URL. */
    pushAudience: z.string().min(1).optional(),
    pushServiceAccount: z.string().min(1).default('marketplace-push@harbor-storage-public.iam.gserviceaccount.com'),
    /** What GetSubscription shows of the publisher's subscription. */
    ackDeadlineSeconds: z.number().int().min(10).max(600).default(60),
    exactlyOnce: z.boolean().default(false),
    deadLetterTopic: z.string().min(1).optional(),
    requireBearer: z.boolean().default(false),
    /** False: the publisher's account lacks servicemanagement.services.get. */
    configReadable: z.boolean().default(true),
    /** `summed`: every accepted report is billed, whatever its operationId; sources differ (contract gcp §4, Dedupe). */
    dedupe: z.enum(['trusted', 'summed']).default('trusted'),
    /** Whether a report needs a clean check before it: of the same operationId, or of the consumer within 60 s. */
    checkFirst: z.enum(['required', 'lenient']).default('required'),
    overlaps: z.enum(['refused', 'summed']).default('refused'),
    /** Windows that do not start where the last one of the metric ended. */
    gaps: z.enum(['allowed', 'refused']).default('allowed'),
    maxWindowSeconds: z.number().int().positive().default(3600),
    /** Where the sign-up token holds the orders, and how (contract gcp §1: not confirmed). */
    ordersAt: z.enum(['google', 'top', 'both', 'none']).default('google'),
    ordersAs: z.enum(['strings', 'objects']).default('strings'),
    /** The documented account message has no eventType (contract gcp §3). */
    accountEventType: z.boolean().default(true),
    /** Messages of one purchase share their eventId (contract gcp §3, Delivery). */
    sharedEventId: z.boolean().default(true),
    usageReportingIdFrom: z.enum(['requested', 'active']).default('active'),
    /** ENTITLEMENT_ACTIVE without usageReportingId for this long. */
    lateUsageReportingIdSeconds: z.number().nonnegative().default(0),
    /** landingFirst: how long after the sign-up token the notifications go out. */
    landingFirstSeconds: z.number().nonnegative().default(5),
    sendCancelling: z.boolean().default(false),
    /** The deprecated type, before ACCOUNT_ACTIVE (contract gcp §3, table). */
    sendAccountCreation: z.boolean().default(false),
    /** Documents have named it both ways (contract gcp §3, "Field renamed in docs"). */
    offerDurationField: z.enum(['newPendingOfferDuration', 'newOfferDuration']).default('newPendingOfferDuration'),
    /** False: GET leaves out the start of an accepted offer, which its message told (contract gcp §3). */
    showsNewOfferStart: z.boolean().default(true),
    deleteAfterDays: z.number().positive().default(60),
    keysMaxAgeSeconds: z.number().int().nonnegative().default(3600),
    plans: z.array(planSchema).min(1).max(24),
    /** A buyer with a `resellerBillingAccount` buys through that reseller. */
    buyers: z.array(z.object({ name: z.string().min(1), resellerBillingAccount: z.string().min(1).optional() })).default([]),
  })
  .superRefine((settings, context) => {
    for (const plan of settings.plans) {
      for (const metric of plan.metrics) {
        if (!metric.id.startsWith(`${settings.serviceName}/`))
          context.addIssue({ code: 'custom', path: ['plans', plan.id], message: `metric ${metric.id} is not of the service` });
      }
    }
  });

export type GcpSettings = z.output<typeof gcpSettingsSchema>;
export type GcpPlan = z.output<typeof planSchema>;
export type GcpMetric = z.output<typeof metricSchema>;

export function planOf(settings: GcpSettings, planId: string): GcpPlan | undefined {
  return settings.plans.find((plan) => plan.id === planId);
}

export function topicOf(settings: GcpSettings): string {
  return `projects/${settings.topicProject}/topics/${settings.providerId}`;
}

export function subscriptionOf(settings: GcpSettings): string {
  return `projects/${settings.projectId}/subscriptions/${settings.subscription}`;
}

export function pushOf(settings: GcpSettings): { endpoint: string | undefined; audience: string; serviceAccount: string } {
  const endpoint = settings.pushEndpoint ?? undefined;
  return { endpoint, audience: settings.pushAudience ?? endpoint ?? '', serviceAccount: settings.pushServiceAccount };
}
