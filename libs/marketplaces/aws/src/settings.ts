import { z } from 'zod';
import { topicRegionOf } from './topic-arn.js';

/** The bus source of all marketplace events (contract aws §4.1). */
export const EVENT_SOURCE = 'aws.agreement-marketplace';
/** The header of the API destination's connection: EventBridge signs nothing, so this is what proves the sender. */
export const SECRET_HEADER = 'x-berth-webhook-secret';

const ms = (value: number) => z.number().int().positive().default(value);

const code = z.string().min(1);
const instant = z.iso.datetime({ offset: true }).transform((text) => new Date(text));

export const awsSettingsSchema = z.object({
  /** All products of ours. */
  productCodes: z.array(z.string().min(1)).min(1),
  /** The one metering region of the listing: dedupe is per region, so there is no other to fail over to (contract aws §5.1). */
  region: z.string().regex(/^[a-z]{2,6}(-[a-z]+)+-\d$/, 'must be an AWS region'),
  /** Null: the SDK's own endpoint of the region. */
  endpoint: z.url().nullable().default(null),
  webhookSecret: z.string().min(16),
  /** Null: the SDK's own chain. */
  credentials: z
    .object({ accessKeyId: z.string().min(1), secretAccessKey: z.string().min(1) })
    .nullable()
    .default(null),
  /** A test bus needs another source: PutEvents refuses `aws.` ones. */
  eventSources: z.array(z.string().min(1)).min(1).default([EVENT_SOURCE]),
  /**
   * How AWS answers an identical record again. `success`, as the API text says: then DuplicateRecord means that something else
   * is stored. `duplicate`, as AWS's skill says: then DuplicateRecord is taken for our own (contract aws §5.3, §12).
   */
  identicalResend: z.enum(['success', 'duplicate']).default('success'),
  /**
   * From when an hour of usage may be stamped in which a licence starts. `hour`: from the hour's start. `instant`: from the licence's
   * start on, as the words "not before the agreement start" may mean too; then the record of that hour is stamped with the instant
   * from which it was counted (contract aws §5.2).
   */
  licenceWindow: z.enum(['hour', 'instant']).default('hour'),
  /**
   * Products among `productCodes` whose listing is of the old contract (CustomerIdentifier and ProductCode, SNS), and until when:
   * hours from `until` on are metered by licence. Never both keys for one customer-hour (contract aws §0.3).
   */
  legacyProducts: z.record(code, z.object({ until: instant.nullable().default(null) })).default({}),
  /** Products with a contract: their entitlements are read, and the named dimension's value is the purchase's quantity. */
  contractProducts: z.record(code, z.object({ quantityDimension: z.string().min(1).nullable().default(null) })).default({}),
  /** Notifications of legacy listings over HTTPS. Null: none are taken. */
  sns: z
    .object({
      /** ARNs of the topics that are ours to hear; anything else is refused before a byte is fetched. */
      topics: z.array(z.string().refine((arn) => topicRegionOf(arn) !== null, 'must be the ARN of an SNS topic')).min(1),
      /** Null: SNS of the topic's region. Else the base of both API and certificates: the sandbox. */
      endpoint: z.url().nullable().default(null),
      /** Our address as subscribed; null: any HTTP subscription of the topic may be confirmed. */
      subscriptionUrl: z.url().nullable().default(null),
    })
    .nullable()
    .default(null),
  /** Addresses of SQS queues with EventBridge events or legacy notifications. */
  queues: z.array(z.url()).default([]),
  sqsEndpoint: z.url().nullable().default(null),
  /** How long a received message is ours, in seconds; extended while it is being stored. */
  queueVisibilitySeconds: z.number().int().min(2).max(3_600).default(60),
  entitlementEndpoint: z.url().nullable().default(null),
  /**
   * The Agreement API, asked for what messages did not bring. Null: it is not asked. It names products by `prod-…`, everything
   * else by code, so `productIds` says which is which; a product that is not listed here is taken for somebody else's.
   */
  agreements: z
    .object({
      productIds: z.record(z.string().regex(/^prod-/), code),
      endpoint: z.url().nullable().default(null),
    })
    .nullable()
    .default(null),
  /** The seller's role, where this process runs in another account than the one that published the product. */
  role: z
    .object({
      arn: z.string().regex(/^arn:aws[a-z-]*:iam::\d{12}:role\/.+$/, 'must be the ARN of an IAM role'),
      externalId: z.string().min(2).nullable().default(null),
      endpoint: z.url().nullable().default(null),
    })
    .nullable()
    .default(null),
  /** Real milliseconds; `help` is a read that a buyer waits for and that he is served without. Connecting has the guarded client's own limit. */
  timeoutsMs: z.object({ resolve: ms(8_000), usage: ms(30_000), read: ms(10_000), help: ms(2_000) }).prefault({}),
});

export type AwsSettings = z.output<typeof awsSettingsSchema>;
/** What may be given; `BerthConfig['aws']` is one. */
export type AwsSettingsInput = z.input<typeof awsSettingsSchema>;
