import { z } from 'zod';
import { type Given, listOf } from './pairs.js';

const url = z.url();
const ROLE = /^arn:aws[a-z-]*:iam::\d{12}:role\/.+$/;
const TOPICS = /^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]+$/;

export const awsVariables = {
  AWS_PRODUCT_CODES: z.string().optional(),
  AWS_METERING_REGION: z.string().default('us-east-1'),
  AWS_METERING_ENDPOINT: url.optional(),
  AWS_WEBHOOK_SECRET: z.string().min(16, 'must have at least 16 characters').optional(),
  /** `code` or `code=<instant until which hours are metered the old way>`, comma list. */
  AWS_LEGACY_PRODUCTS: z.string().optional(),
  /** `code` or `code=<dimension that is the quantity>`, comma list. */
  AWS_CONTRACT_PRODUCTS: z.string().optional(),
  /** How AWS answers an identical record again, and from when the first hour of a licence may be stamped: its documents differ. */
  AWS_IDENTICAL_RESEND: z.enum(['success', 'duplicate']).default('success'),
  AWS_LICENCE_WINDOW: z.enum(['hour', 'instant']).default('hour'),
  AWS_SNS_TOPICS: z.string().optional(),
  AWS_SNS_ENDPOINT: url.optional(),
  AWS_SQS_QUEUE_URLS: z.string().optional(),
  AWS_SQS_ENDPOINT: url.optional(),
  AWS_ENTITLEMENT_ENDPOINT: url.optional(),
  /** `prod-…=code`, comma list: turns the Agreement API on, which knows products by these ids. */
  AWS_PRODUCT_IDS: z.string().optional(),
  AWS_AGREEMENT_ENDPOINT: url.optional(),
  AWS_SELLER_ROLE_ARN: z.string().regex(ROLE, 'must be the ARN of an IAM role').optional(),
  AWS_SELLER_EXTERNAL_ID: z.string().min(2).optional(),
  AWS_STS_ENDPOINT: url.optional(),
};
type AwsVariables = z.infer<z.ZodObject<typeof awsVariables>>;

export interface AwsConfig {
  productCodes: string[];
  region: string;
  endpoint: string | null;
  webhookSecret: string;
  /** The sandbox takes any key; production finds its own by the SDK's chain. */
  credentials: { accessKeyId: string; secretAccessKey: string } | null;
  legacyProducts: Record<string, { until: string | null }>;
  contractProducts: Record<string, { quantityDimension: string | null }>;
  identicalResend: 'success' | 'duplicate';
  licenceWindow: 'hour' | 'instant';
  sns: { topics: string[]; endpoint: string | null; subscriptionUrl: string | null } | null;
  queues: string[];
  sqsEndpoint: string | null;
  entitlementEndpoint: string | null;
  agreements: { productIds: Record<string, string>; endpoint: string | null } | null;
  role: { arn: string; externalId: string | null; endpoint: string | null } | null;
}

export const AWS_ENDPOINTS = [
  'AWS_METERING_ENDPOINT',
  'AWS_SNS_ENDPOINT',
  'AWS_SQS_ENDPOINT',
  'AWS_ENTITLEMENT_ENDPOINT',
  'AWS_AGREEMENT_ENDPOINT',
  'AWS_STS_ENDPOINT',
] as const;

const pairs = (text: string | undefined): [string, string | null][] =>
  listOf(text).map((one) => {
    const [code = '', ...rest] = one.split('=');
    return [code.trim(), rest.length > 0 ? rest.join('=').trim() : null];
  });

/** Null: AWS is not sold. In the sandbox every service has its own path below one address. */
export function awsOf(e: AwsVariables, given: Given, sandbox: string | null, publicUrl: string | null): AwsConfig | null {
  if (!e.AWS_PRODUCT_CODES || !e.AWS_WEBHOOK_SECRET) return null;
  const at = (name: (typeof AWS_ENDPOINTS)[number], path: string): string | null =>
    given[name] ?? (sandbox ? `${sandbox}/aws/${path}` : null);
  const topics = listOf(e.AWS_SNS_TOPICS);
  return {
    productCodes: listOf(e.AWS_PRODUCT_CODES),
    region: e.AWS_METERING_REGION,
    endpoint: at('AWS_METERING_ENDPOINT', 'metering'),
    webhookSecret: e.AWS_WEBHOOK_SECRET,
    credentials: sandbox ? { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'sandbox-only-not-a-secret' } : null,
    legacyProducts: Object.fromEntries(pairs(e.AWS_LEGACY_PRODUCTS).map(([code, until]) => [code, { until }])),
    contractProducts: Object.fromEntries(pairs(e.AWS_CONTRACT_PRODUCTS).map(([code, quantityDimension]) => [code, { quantityDimension }])),
    identicalResend: e.AWS_IDENTICAL_RESEND,
    licenceWindow: e.AWS_LICENCE_WINDOW,
    sns:
      topics.length > 0
        ? { topics, endpoint: at('AWS_SNS_ENDPOINT', 'sns'), subscriptionUrl: publicUrl && `${publicUrl}/webhooks/aws/sns` }
        : null,
    queues: listOf(e.AWS_SQS_QUEUE_URLS),
    sqsEndpoint: at('AWS_SQS_ENDPOINT', 'sqs'),
    entitlementEndpoint: at('AWS_ENTITLEMENT_ENDPOINT', 'entitlement'),
    agreements: e.AWS_PRODUCT_IDS
      ? {
          productIds: Object.fromEntries(pairs(e.AWS_PRODUCT_IDS).map(([id, code]) => [id, code ?? ''])),
          endpoint: at('AWS_AGREEMENT_ENDPOINT', 'agreement'),
        }
      : null,
    role: e.AWS_SELLER_ROLE_ARN
      ? { arn: e.AWS_SELLER_ROLE_ARN, externalId: e.AWS_SELLER_EXTERNAL_ID ?? null, endpoint: at('AWS_STS_ENDPOINT', 'sts') }
      : null,
  };
}

/** What one setting alone cannot tell. */
export function awsFaults(given: Given): string[] {
  const faults: string[] = [];
  if (given['AWS_PRODUCT_CODES'] && !given['AWS_WEBHOOK_SECRET'])
    faults.push('AWS_WEBHOOK_SECRET is missing: EventBridge does not sign; the secret of the API destination is what proves the sender');
  const ours = listOf(given['AWS_PRODUCT_CODES']);
  for (const name of ['AWS_LEGACY_PRODUCTS', 'AWS_CONTRACT_PRODUCTS']) {
    const foreign = pairs(given[name]).filter(([code]) => !ours.includes(code));
    if (foreign.length > 0) faults.push(`${name} names ${foreign.map(([code]) => code).join(' and ')}, which AWS_PRODUCT_CODES does not`);
  }
  for (const [id, code] of pairs(given['AWS_PRODUCT_IDS']))
    if (!/^prod-/.test(id) || !ours.includes(code ?? ''))
      faults.push(`AWS_PRODUCT_IDS: ${id} must be a product id like prod-… followed by = and one of AWS_PRODUCT_CODES`);
  for (const [code, until] of pairs(given['AWS_LEGACY_PRODUCTS']))
    if (until !== null && !z.iso.datetime({ offset: true }).safeParse(until).success)
      faults.push(`AWS_LEGACY_PRODUCTS: ${code} must be followed by an instant like 2026-12-01T00:00:00Z`);
  for (const topic of listOf(given['AWS_SNS_TOPICS']))
    if (!TOPICS.test(topic)) faults.push(`AWS_SNS_TOPICS: ${topic} is no ARN of a topic`);
  for (const queue of listOf(given['AWS_SQS_QUEUE_URLS'])) if (!URL.canParse(queue)) faults.push(`AWS_SQS_QUEUE_URLS: ${queue} is no URL`);
  if (given['AWS_SELLER_EXTERNAL_ID'] && !given['AWS_SELLER_ROLE_ARN'])
    faults.push('AWS_SELLER_ROLE_ARN is missing: AWS_SELLER_EXTERNAL_ID belongs to it');
  return faults;
}
