import { z } from 'zod';

/** The bus source of all marketplace events (contract aws §4.1). */
export const EVENT_SOURCE = 'aws.agreement-marketplace';
/** The header of the API destination's connection: EventBridge signs nothing, so this is what proves the sender. */
export const SECRET_HEADER = 'x-berth-webhook-secret';

const ms = (value: number) => z.number().int().positive().default(value);

export const awsSettingsSchema = z.object({
  /** Products of ours that are sold with Concurrent Agreements. */
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
  /** Real milliseconds. */
  timeoutsMs: z.object({ connect: ms(3_000), resolve: ms(8_000), usage: ms(30_000) }).prefault({}),
});

export type AwsSettings = z.output<typeof awsSettingsSchema>;
/** What may be given; `BerthConfig['aws']` is one. */
export type AwsSettingsInput = z.input<typeof awsSettingsSchema>;
