import { z } from 'zod';
import { isLoopbackUrl } from '../config.js';

const localUrl = z.string().refine(isLoopbackUrl, 'must be a loopback URL');
const accountId = z.string().regex(/^\d{12}$/, 'must be an AWS account id of 12 digits');

const productSchema = z.object({
  code: z.string().regex(/^[0-9a-z]{1,255}$/),
  id: z.string().regex(/^prod-[0-9a-z]+$/),
  title: z.string(),
  /** API names of the externally metered dimensions. */
  dimensions: z.array(z.string().min(1).max(255)).min(1),
  /** `legacy`: a listing from before concurrent agreements (contract aws §0.1): customer identifier, product code, SNS. */
  contract: z.enum(['concurrent', 'legacy']).default('concurrent'),
  /** Which topics a legacy listing has (contract aws §4.2), and whether entitlements mean anything (§3). */
  pricing: z.enum(['usage', 'contract', 'contract_with_consumption']).default('usage'),
});

const credentialSchema = z.object({
  accessKeyId: z.string().min(1),
  secretAccessKey: z.string().min(1),
  /** Only the publishing seller account may call; another one shows what happens otherwise. */
  accountId: accountId.optional(),
  /** Operations that IAM does not allow this key. */
  denied: z.array(z.string()).default([]),
});

const roleSchema = z.object({
  arn: z.string().regex(/^arn:aws:iam::\d{12}:role\/.+$/),
  externalId: z.string().nullable().default(null),
  /** Access keys that may take it. */
  trusted: z.array(z.string()).default([]),
});

export const SANDBOX_ACCESS_KEY = 'AKIASANDBOX000000000';
const SANDBOX_SECRET = 'sandbox-only-not-a-secret';

export const awsSettingsSchema = z
  .strictObject({
    sellerAccountId: accountId.default('999900001111'),
    sellerName: z.string().default('Harbor Storage'),
    /** Where events come from. */
    region: z.string().default('us-east-1'),
    /** Metering regions; elsewhere the API is disabled (contract aws §5.1). */
    meteringRegions: z.array(z.string()).default(['us-east-1', 'us-west-2', 'eu-central-1', 'eu-west-1', 'ap-southeast-2']),
    licenseIssuerAccountId: accountId.default('294400000000'),
    credentials: z.array(credentialSchema).default([{ accessKeyId: SANDBOX_ACCESS_KEY, secretAccessKey: SANDBOX_SECRET, denied: [] }]),
    registrationUrl: localUrl.default('http://127.0.0.1:4000/landing/aws'),
    webhookUrl: localUrl.default('http://127.0.0.1:4000/webhooks/aws/eventbridge'),
    /** The header value of the API destination's connection. */
    webhookSecret: z.string().min(1).default('sandbox-eventbridge-secret-0001'),
    targetTimeoutSeconds: z.number().positive().default(5),
    /** Send the optional form fields that were seen in the wild (contract aws §2). */
    registrationHints: z.boolean().default(true),
    tokenLifetimeSeconds: z.number().int().nonnegative().default(14_400),
    tokenReusable: z.boolean().default(true),
    /** An identical record again: idempotent Success, or DuplicateRecord (contract aws §12). */
    identicalResend: z.enum(['success', 'duplicate']).default('success'),
    /** What more than five tags are called: by the API's model, or by AWS's own skill (contract aws §12). */
    tooManyTags: z.enum(['InvalidTagException', 'TooManyTagsException']).default('InvalidTagException'),
    /** Trials that can be sold: by the seller guide, or by the API's term (contract aws §12). */
    trialDays: z.enum(['7-90', '5-31']).default('7-90'),
    /** Which event opens the final hour (contract aws §4.3): whichever comes first, or only the one of one of AWS's two accounts. */
    finalHourOpens: z.enum(['first', 'deprovisioned', 'ended']).default('first'),
    /** `hour`: the hour in which a licence starts may be metered as HH:00; `instant` refuses it. */
    licenceWindow: z.enum(['hour', 'instant']).default('hour'),
    /** 24 by the API's text since 2026-07; 6 by older copies of the SDK (contract aws §12). */
    lookBackHours: z.number().positive().default(24),
    finalWindowSeconds: z.number().int().nonnegative().default(3600),
    /** Between the two events that end an agreement, in business time. */
    endGapSeconds: z.number().nonnegative().default(5),
    ratePerSecond: z.number().int().positive().default(10),
    /** Where the rule of the bus leads (contract aws §4.1): the API destination, or the SQS queue `eventQueue`. */
    eventTarget: z.enum(['api_destination', 'sqs']).default('api_destination'),
    eventQueue: z.string().default('marketplace-events'),
    queues: z
      .array(
        z.object({
          name: z.string().regex(/^[A-Za-z0-9_-]{1,80}$/),
          visibilitySeconds: z.number().int().min(0).max(43_200).default(30),
          /** Taken this often without being deleted, a message goes to `<name>-dlq`; null: never. */
          maxReceives: z.number().int().positive().nullable().default(null),
        }),
      )
      .default([{ name: 'marketplace-events', visibilitySeconds: 30, maxReceives: null }]),
    /** The account that owns the topics (contract aws §4.2), and how they sign. */
    topicAccountId: accountId.default('287250355862'),
    snsSignatureVersion: z.enum(['1', '2']).default('1'),
    /** Entitlements: calls per second and account, and how many empty pages come before the rows (contract aws §3). */
    entitlementRatePerSecond: z.number().int().positive().default(20),
    emptyEntitlementPages: z.number().int().nonnegative().default(0),
    /** Agreement API: calls per second and account, how late a search shows a change (business time), and what it leaves out. */
    agreementRatePerSecond: z.number().int().positive().default(20),
    agreementLagSeconds: z.number().nonnegative().default(0),
    hiddenAgreements: z.array(z.string()).default([]),
    roles: z.array(roleSchema).default([]),
    products: z.array(productSchema).default([]),
    buyers: z.array(z.object({ name: z.string(), accountId })).default([]),
    /** Channel partners who may resell (CPPO, contract aws §7); the first one unless told. */
    resellers: z
      .array(z.object({ name: z.string(), accountId }))
      .min(1)
      .default([{ name: 'Fairlead Resale', accountId: '888800002222' }]),
  })
  .superRefine((settings, context) => {
    for (const one of settings.resellers) {
      if (one.accountId === settings.sellerAccountId)
        context.addIssue({ code: 'custom', path: ['resellers', one.name], message: 'the seller itself is no reseller' });
    }
    for (const key of ['code', 'id'] as const) {
      const all = settings.products.map((product) => product[key]);
      if (new Set(all).size !== all.length)
        context.addIssue({ code: 'custom', path: ['products'], message: `two products share one ${key}` });
    }
  });

export type AwsSettings = z.output<typeof awsSettingsSchema>;
export type AwsProduct = z.output<typeof productSchema>;
export type AwsCredential = z.output<typeof credentialSchema>;

export function productOf(settings: AwsSettings, code: string): AwsProduct | undefined {
  return settings.products.find((product) => product.code === code);
}
